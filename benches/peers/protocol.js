// The lab's measures for a queue in JavaScript: the same phases, bounds and
// lines as benches/protocol has for those in Rust.
//
// A queue is { batch, enqueue(texts), enqueueOne(text), start(handled),
// settled(enqueued) }, whose promises end when the store has what was asked.
const LIMIT = 4_000;
const BACKLOG_LIMIT = 60_000;
const SETTLED_WITHIN = 20_000;
const BATCH_TASKS = 2;
const SINGLE_TASKS = 64;
const PER_SECOND = 200;
const WARM_UP = 50;

const say = (line) => process.stdout.write(JSON.stringify(line) + '\n');
const begin = (measure) => say({ mark: 'begin', measure });
const end = (measure, jobs, ms) => say({ mark: 'end', measure, jobs, seconds: ms / 1_000 });
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function inTasks(tasks, calls, limit, call) {
  const begun = performance.now();
  let next = 0;
  let done = 0;
  await Promise.all(Array.from({ length: tasks }, async () => {
    while (next < calls && performance.now() - begun < limit) {
      next++;
      await call();
      done++;
    }
  }));
  return done;
}

async function drain(queue, { jobs, backlog, text }) {
  const batch = queue.batch ?? 500;
  const limit = backlog ? BACKLOG_LIMIT : LIMIT;
  begin('enqueue');
  let since = performance.now();
  const calls = Math.ceil((jobs + backlog) / batch);
  const made = await inTasks(BATCH_TASKS, calls, limit, () => queue.enqueue(Array(batch).fill(text)));
  const enqueued = made * batch;
  end('enqueue', enqueued, performance.now() - since);
  if (backlog && enqueued < jobs + backlog) {
    throw new Error(`only ${enqueued} of ${jobs + backlog} jobs enqueued in ${limit} ms`);
  }

  const wanted = Math.min(jobs, enqueued);
  let handled = 0;
  begin('drain');
  since = performance.now();
  await queue.start(() => { handled++; });
  while (handled < wanted && performance.now() - since < LIMIT) await sleep(1);
  const cut = handled < wanted;
  const bound = performance.now() + SETTLED_WITHIN;
  for (;;) {
    // Whatever the store says now, it held when it was asked.
    const asked = performance.now();
    const settled = await queue.settled(enqueued);
    if (settled >= wanted || cut) return end('drain', settled, asked - since);
    if (asked > bound) throw new Error('handled jobs were not settled in time');
    await sleep(2);
  }
}

async function single(queue, { jobs, text }) {
  begin('single');
  const since = performance.now();
  const done = await inTasks(SINGLE_TASKS, jobs, LIMIT, () => queue.enqueueOne(text));
  end('single', done, performance.now() - since);
}

async function pickUp(queue, { jobs, text }) {
  const count = WARM_UP + jobs;
  const called = Array(count);
  const started = Array(count);
  let left = count;
  await queue.start((payload) => {
    const number = parseInt(payload, 10);
    if (started[number] === undefined) left--;
    started[number] ??= performance.now();
  });
  await sleep(1_000);
  const since = performance.now();
  const calls = [];
  for (let number = 0; number < count; number++) {
    const due = since + (number * 1_000) / PER_SECOND;
    while (performance.now() < due) await sleep(Math.max(0, due - performance.now()));
    if (number === WARM_UP) begin('pick-up');
    called[number] = performance.now();
    calls.push(queue.enqueueOne(`${number}-${text}`));
  }
  await Promise.all(calls);
  const bound = performance.now() + SETTLED_WITHIN;
  while (left > 0) {
    if (performance.now() > bound) throw new Error('some jobs were not picked up within 20 s');
    await sleep(5);
  }
  const spans = started.map((start, number) => Number((start - called[number]).toFixed(3)));
  say({ mark: 'end', measure: 'pick-up', jobs, spans_ms: spans.slice(WARM_UP) });
}

/** Reads URL MEASURE JOBS BACKLOG PAYLOAD SETTINGS, measures, ends the process. */
export async function run(open) {
  const [url, measure, jobs, backlog, payload, settings] = process.argv.slice(2);
  if (!settings) throw new Error('usage: node lab.js URL MEASURE JOBS BACKLOG PAYLOAD SETTINGS');
  const args = {
    url,
    jobs: Number(jobs),
    backlog: Number(backlog),
    text: 'x'.repeat(Math.max(0, Number(payload) - '{"text":""}'.length)),
    best: settings !== 'defaults',
  };
  const measures = { drain, single, 'pick-up': pickUp };
  if (!measures[measure]) throw new Error(`no such measure: ${measure}`);
  const queue = await open(args);
  await measures[measure](queue, args);
  // What the workers still do is not waited for; what was said is.
  process.stdout.write('', () => process.exit(0));
}
