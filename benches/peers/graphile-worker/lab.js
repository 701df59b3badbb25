// graphile-worker for the lab; see ../README.md.
import { Logger, makeWorkerUtils, run as startWorker } from 'graphile-worker';
import pg from 'pg';
import { run } from '../protocol.js';
import { FASTEST } from './fastest.js';

await run(async ({ url: connectionString, best }) => {
  const logger = new Logger(() => () => {});
  const preset = { worker: { connectionString, ...(best && FASTEST) } };
  const utils = await makeWorkerUtils({ preset, logger });
  await utils.migrate();
  const pool = new pg.Pool({ connectionString, max: 2 });
  // A job's row is deleted when it is done.
  const left = 'SELECT count(*)::int AS n FROM graphile_worker._private_jobs';
  return {
    batch: 1_000,
    enqueue: (texts) => utils.addJobs(texts.map((text) => ({ identifier: 'noop', payload: { text } }))),
    enqueueOne: (text) => utils.addJob('noop', { text }),
    async start(handled) {
      const taskList = { noop: async ({ text }) => handled(text) };
      await startWorker({ preset, taskList, logger, noHandleSignals: true });
    },
    settled: async (enqueued) => enqueued - (await pool.query(left)).rows[0].n,
  };
});
