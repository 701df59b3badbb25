// node measure.js [ROUNDS]: BullMQ at its best on the server that
// ANYQUEUE_TEST_REDIS_URL names, measured as `anyqueue-benches redis` measures
// anyqueue: 20,000 jobs of 100 bytes, no-op handlers, finished jobs kept.
// Enqueue is by addBulk of 500; drain is tried with several concurrencies, from
// one process, which is BullMQ's unit of CPU use as it is ours.
import { Queue, Worker } from 'bullmq';
import { randomUUID } from 'node:crypto';
import Redis from 'ioredis';

const JOBS = 20_000;
const BATCH = 500;
const rounds = Number(process.argv[2] ?? 3);
const url = process.env.ANYQUEUE_TEST_REDIS_URL;
if (!url) throw new Error('ANYQUEUE_TEST_REDIS_URL is not set: scripts/servers up redis');
const connect = () => new Redis(url, { maxRetriesPerRequest: null });
const rate = (since) => JOBS / (performance.now() - since);

async function round(concurrency) {
  const name = `bench-${randomUUID()}`;
  const connection = connect();
  const queue = new Queue(name, { connection });
  await queue.waitUntilReady();
  const data = { text: 'x'.repeat(89) };
  let since = performance.now();
  for (let at = 0; at < JOBS; at += BATCH) {
    await queue.addBulk(Array.from({ length: BATCH }, () => ({ name: 'noop', data })));
  }
  const enqueue = rate(since);
  const blocking = connect();
  const worker = new Worker(name, async () => {}, { connection: blocking, concurrency, autorun: false });
  await worker.waitUntilReady();
  since = performance.now();
  let left = JOBS;
  const drained = new Promise((resolve) => worker.on('completed', () => --left || resolve()));
  worker.run();
  await drained;
  const drain = rate(since);
  await worker.close();
  await queue.obliterate({ force: true });
  await queue.close();
  connection.disconnect();
  blocking.disconnect();
  return { enqueue, drain };
}

function row(name, values) {
  values.sort((a, b) => a - b);
  const show = (value) => value.toFixed(1);
  const median = values[Math.floor(values.length / 2)];
  console.log(`| ${name} | ${show(median)} | ${show(values[0])}–${show(values.at(-1))} |`);
}

console.log(`bullmq, ${JOBS} jobs a round, ${rounds} rounds, thousand jobs/s\n`);
console.log('| | median | min–max |\n|---|---|---|');
const enqueues = [];
for (const concurrency of [10, 50, 100, 300]) {
  const drains = [];
  for (let n = 0; n < rounds; n++) {
    const { enqueue, drain } = await round(concurrency);
    enqueues.push(enqueue);
    drains.push(drain);
  }
  row(`worker, concurrency ${concurrency}`, drains);
}
row('addBulk, 500 a call', enqueues);
