// node measure.js [ROUNDS]: graphile-worker on the server that
// ANYQUEUE_TEST_POSTGRES_URL names, measured as `anyqueue-benches postgres`
// measures anyqueue: jobs of 100 bytes, no-op handlers, the time until the last
// job is settled. Enqueue is by addJobs of 500 and of 1,000 a call. Drain is
// tried at the defaults, and with the settings of the fastest figure in its
// manual (worker.graphile.org/docs/performance) from one, two and four processes.
import { fork } from 'node:child_process';
import { Logger, makeWorkerUtils, run as start } from 'graphile-worker';
import pg from 'pg';
import { FASTEST } from './fastest.js';

const JOBS = 100_000;
const JOBS_AT_DEFAULTS = 5_000;
const schema = 'bench_graphile_worker';
const connectionString = process.env.ANYQUEUE_TEST_POSTGRES_URL;
if (!connectionString) throw new Error('ANYQUEUE_TEST_POSTGRES_URL is not set: scripts/servers up postgres');

const silent = new Logger(() => () => {});

/** A process of workers: says when it is ready and how many jobs it has run. */
async function child(settings) {
  process.once('message', async () => {
    const worker = { connectionString, schema, ...settings };
    const runner = await start({
      preset: { worker },
      taskList: { noop: async () => {} },
      logger: silent,
      noHandleSignals: true,
    });
    let run = 0;
    runner.events.on('job:complete', () => run++);
    const told = setInterval(() => run && process.send({ run }), 5);
    process.once('message', async () => {
      clearInterval(told);
      await runner.stop();
      process.disconnect();
    });
  });
  process.send({ ready: true });
}

async function enqueue(utils, jobs, batch) {
  const payload = { text: 'x'.repeat(89) };
  const since = performance.now();
  for (let at = 0; at < jobs; at += batch) {
    await utils.addJobs(Array.from({ length: batch }, () => ({ identifier: 'noop', payload })));
  }
  return jobs / (performance.now() - since);
}

/**
 * From the order to start, as anyqueue's drain is, until the last job is settled:
 * its event comes before its row is gone, so the table is looked at in the end.
 */
async function drain(client, jobs, processes, settings) {
  const children = Array.from({ length: processes }, () =>
    fork(new URL(import.meta.url), ['child', JSON.stringify(settings)]));
  const once = (child) => new Promise((resolve) => child.once('message', resolve));
  await Promise.all(children.map(once));
  const run = children.map(() => 0);
  const done = new Promise((resolve) => {
    children.forEach((child, at) => child.on('message', (message) => {
      run[at] = message.run;
      if (run.reduce((a, b) => a + b) >= jobs) resolve();
    }));
  });
  const since = performance.now();
  for (const child of children) child.send('start');
  await done;
  const unsettled = `SELECT EXISTS (SELECT FROM ${schema}._private_jobs) AS any`;
  while ((await client.query(unsettled)).rows[0].any);
  const rate = jobs / (performance.now() - since);
  const ended = children.map((child) => new Promise((resolve) => child.once('exit', resolve)));
  for (const child of children) child.send('stop');
  await Promise.all(ended);
  return rate;
}

async function open() {
  const client = new pg.Client(connectionString);
  await client.connect();
  await client.query(`DROP SCHEMA IF EXISTS ${schema} CASCADE`);
  await client.query('CHECKPOINT');
  const utils = await makeWorkerUtils({ preset: { worker: { connectionString, schema } }, logger: silent });
  await utils.migrate();
  return { client, utils };
}

async function round(jobs, batch, processes, settings) {
  const { client, utils } = await open();
  const enqueued = await enqueue(utils, jobs, batch);
  const drained = await drain(client, jobs, processes, settings);
  await utils.release();
  await client.query(`DROP SCHEMA ${schema} CASCADE`);
  await client.end();
  return { enqueued, drained };
}

function row(name, values) {
  values.sort((a, b) => a - b);
  const show = (value) => value.toFixed(1);
  const median = values[Math.floor(values.length / 2)];
  console.log(`| ${name} | ${show(median)} | ${show(values[0])}–${show(values.at(-1))} |`);
}

if (process.argv[2] === 'child') {
  await child(JSON.parse(process.argv[3]));
} else {
  const rounds = Number(process.argv[2] ?? 3);
  console.log(`graphile-worker, ${JOBS} jobs a round, ${rounds} rounds, thousand jobs/s\n`);
  console.log('| | median | min–max |\n|---|---|---|');
  const enqueues = { 500: [], 1000: [] };
  const cases = [
    ['defaults, 1 process', JOBS_AT_DEFAULTS, 500, 1, {}],
    ['fastest settings, 1 process', JOBS, 500, 1, FASTEST],
    ['fastest settings, 2 processes', JOBS, 1000, 2, FASTEST],
    ['fastest settings, 4 processes', JOBS, 1000, 4, FASTEST],
  ];
  for (const [name, jobs, batch, processes, settings] of cases) {
    const drains = [];
    for (let n = 0; n < rounds; n++) {
      const { enqueued, drained } = await round(jobs, batch, processes, settings);
      if (jobs === JOBS) enqueues[batch].push(enqueued);
      drains.push(drained);
    }
    row(`drain, ${name}`, drains);
  }
  for (const [batch, rates] of Object.entries(enqueues)) row(`addJobs, ${batch} a call`, rates);
}
