"""Celery for the lab; see ../README.md. The phases, bounds and lines are those of
benches/protocol: lab.py URL MEASURE JOBS BACKLOG PAYLOAD SETTINGS."""

import json
import multiprocessing
import os
import signal
import sys
import threading
import time

from celery import Celery

LIMIT = 4
BACKLOG_LIMIT = 60
SETTLED_WITHIN = 20
BATCH = 500
SINGLE_THREADS = 64
PER_SECOND = 200
WARM_UP = 50

url, measure, jobs, backlog, payload, settings = sys.argv[1:7]
jobs, backlog, best = int(jobs), int(backlog), settings != "defaults"
text = "x" * max(0, int(payload) - len('{"text":""}'))

app = Celery("lab", broker=url.replace("amqp://", "pyamqp://", 1))
app.conf.update(
    task_default_queue="lab",
    # As durable as the others': a quorum queue, and an answer for each publish.
    task_default_queue_type="quorum",
    broker_transport_options={"confirm_publish": True},
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)
if best:
    # "Optimizing" in its guide: a long prefetch for many short tasks, no results.
    app.conf.update(worker_prefetch_multiplier=128, task_ignore_result=True)

# The worker's processes are forked from this one and share these.
count = multiprocessing.Value("L", 0)
starts = multiprocessing.RawArray("d", WARM_UP + jobs if measure == "pick-up" else 1)


@app.task(name="noop")
def noop(text):
    if measure == "pick-up":
        number = int(text.split("-")[0])
        starts[number] = starts[number] or time.monotonic()
    with count.get_lock():
        count.value += 1


def say(**line):
    print(json.dumps(line), flush=True)


def begin(name):
    say(mark="begin", measure=name)


def end(name, done, seconds):
    say(mark="end", measure=name, jobs=done, seconds=seconds)


def start_worker():
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        flags = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        app.worker_main(["worker", "--loglevel=CRITICAL", *(flags if best else [])])
        os._exit(0)
    return pid


def in_threads(threads, calls, limit, call):
    begun, lock, state = time.monotonic(), threading.Lock(), [0, 0]

    def work():
        with app.producer_pool.acquire(block=True) as producer:
            while time.monotonic() - begun < limit:
                with lock:
                    if state[0] >= calls:
                        return
                    state[0] += 1
                call(producer)
                with lock:
                    state[1] += 1

    app.pool.limit = threads
    running = [threading.Thread(target=work) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return state[1]


def waiting():
    with app.connection_for_read() as connection:
        channel = connection.channel()
        return channel.queue_declare("lab", passive=True).message_count


def drain():
    begin("enqueue")
    begun = time.monotonic()
    limit = BACKLOG_LIMIT if backlog else LIMIT
    # There is no batch: a call a job, from as many threads as do best.
    call = lambda producer: noop.apply_async((text,), producer=producer)
    enqueued = in_threads(SINGLE_THREADS, jobs + backlog, limit, call)
    end("enqueue", enqueued, time.monotonic() - begun)
    if backlog and enqueued < jobs + backlog:
        sys.exit(f"only {enqueued} of {jobs + backlog} jobs enqueued in {limit} s")
    wanted = min(jobs, enqueued)
    pid = start_worker()
    # Its start takes seconds, which are not its speed: the first job begins.
    bound = time.monotonic() + SETTLED_WITHIN
    while count.value == 0:
        if time.monotonic() > bound:
            sys.exit("the worker did not start")
        time.sleep(0.001)
    begin("drain")
    begun = time.monotonic()
    while count.value < wanted and time.monotonic() - begun < LIMIT:
        time.sleep(0.001)
    cut = count.value < wanted
    while True:
        asked = time.monotonic() - begun
        # It acknowledges before it runs: what has run and waits no more is settled.
        settled = min(count.value, enqueued - waiting())
        if settled >= wanted or cut:
            break
        if asked > SETTLED_WITHIN:
            sys.exit("handled jobs were not settled in time")
        time.sleep(0.002)
    end("drain", settled, asked)
    return pid


def single():
    begin("single")
    begun = time.monotonic()
    call = lambda producer: noop.apply_async((text,), producer=producer)
    done = in_threads(SINGLE_THREADS, jobs, LIMIT, call)
    end("single", done, time.monotonic() - begun)


def pick_up():
    pid = start_worker()
    noop.apply_async(("0-",))
    bound = time.monotonic() + SETTLED_WITHIN
    while count.value == 0:
        if time.monotonic() > bound:
            sys.exit("the worker did not start")
        time.sleep(0.01)
    time.sleep(1)
    starts[0] = 0
    called = []
    begun = time.monotonic()
    with app.producer_pool.acquire(block=True) as producer:
        for number in range(WARM_UP + jobs):
            time.sleep(max(0, begun + number / PER_SECOND - time.monotonic()))
            if number == WARM_UP:
                begin("pick-up")
            called.append(time.monotonic())
            noop.apply_async((f"{number}-{text}",), producer=producer)
    bound = time.monotonic() + SETTLED_WITHIN
    while not all(starts):
        if time.monotonic() > bound:
            sys.exit("some jobs were not picked up within 20 s")
        time.sleep(0.005)
    spans = [round((s - c) * 1000, 3) for s, c in zip(starts, called)]
    say(mark="end", measure="pick-up", jobs=jobs, spans_ms=spans[WARM_UP:])
    return pid


worker = {"drain": drain, "single": single, "pick-up": pick_up}[measure]()
if worker:
    os.killpg(worker, signal.SIGKILL)
    os.waitpid(worker, 0)
os._exit(0)
