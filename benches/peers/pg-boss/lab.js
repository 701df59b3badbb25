// pg-boss for the lab; see ../README.md.
import pg from 'pg';
import { PgBoss } from 'pg-boss';
import { run } from '../protocol.js';

await run(async ({ url, best }) => {
  const boss = new PgBoss({ connectionString: url, ...(best && { max: 20, useListenNotify: true }) });
  boss.on('error', (error) => console.error(error.message));
  await boss.start();
  await boss.createQueue('lab', best ? { notify: true } : {});
  const pool = new pg.Pool({ connectionString: url, max: 2 });
  const settings = best
    ? { batchSize: 500, localConcurrency: 4, burstWhenBatchFull: true, pollingIntervalSeconds: 0.5 }
    : {};
  const settled = "SELECT count(*)::int AS n FROM pgboss.job WHERE name = 'lab' AND state = 'completed'";
  return {
    enqueue: (texts) => boss.insert('lab', texts.map((text) => ({ data: { text } }))),
    enqueueOne: (text) => boss.send('lab', { text }),
    async start(handled) {
      await boss.work('lab', settings, async (jobs) => {
        for (const job of jobs) handled(job.data.text);
      });
    },
    settled: async () => (await pool.query(settled)).rows[0].n,
  };
});
