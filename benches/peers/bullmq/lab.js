// BullMQ for the lab; see ../README.md.
import { Queue, Worker } from 'bullmq';
import Redis from 'ioredis';
import { run } from '../protocol.js';

await run(async ({ url, best }) => {
  const connect = () => new Redis(url, { maxRetriesPerRequest: null });
  const queue = new Queue('lab', { connection: connect() });
  await queue.waitUntilReady();
  return {
    enqueue: (texts) => queue.addBulk(texts.map((text) => ({ name: 'noop', data: { text } }))),
    enqueueOne: (text) => queue.add('noop', { text }),
    async start(handled) {
      const settings = best ? { concurrency: 100 } : {};
      const handler = async (job) => handled(job.data.text);
      const worker = new Worker('lab', handler, { connection: connect(), ...settings });
      await worker.waitUntilReady();
    },
    settled: () => queue.getCompletedCount(),
  };
});
