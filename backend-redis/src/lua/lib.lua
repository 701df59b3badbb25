-- What every script starts with: the shard's keys, its records, its indexes.
--
-- Atomic: Redis runs one script at a time, and writes its effects to the AOF
-- as one MULTI/EXEC; there is no rollback, so a script checks before it writes
-- and its writes cannot fail (the shebang's flags settle OOM up front).
-- Cluster: KEYS[1] is the shard's `m`; every other key is it with another last
-- part, so all share its hash tag and slot. The last of KEYS is one that is never
-- there: no script begins while its slot is on its way to another node.
--
--   m          hash    seq, reg, last; q<name> = number, n<number> = name,
--                      p<number> = paused, c<number>:<state> = count
--   b          hash    id = HEAD and what the client packed: written once
--   s          hash    id = STATE. A job without one waits in its list `l`,
--                      as it was enqueued; its HEAD says all there is
--   a          zset    every id, score 0: lists walk it in the order of ids
--   x          hash    id = unique key and tags, of jobs that have any
--   u, up      hash    number and key = holder and end of its period (0: while
--              zset    unfinished); those with a period by its end
--   g e y r    hashes  id = progress, errors, reason of a snooze, result
--   f3 f4 f5   lists   finished jobs by outcome, oldest first: the end, then the
--                      ids that ended then; one that has moved on is dropped
--                      when reached
--   t:<tag>    zset    ids with this tag
--   N:l<P>     list    queue N: ids of ready jobs never touched since their
--                      enqueue, in its order
--   k          hash    id = how many entries in lists `l` are to be dropped when
--                      reached, because their job was touched
--   N:z<P>     zset    other ready jobs: seq and id by due time
--   N:s  N:r   zsets   scheduled by due time; running by the end of the lease
--   w:<name>   list    at most one ticket: there may be work
--   i:<inbox>  list    tickets taken by a process; o: zset of inboxes
--   v          string  someone watches jobs of this shard: then changes are
--                      published on the store's channel, <prefix>changes
local call, pack, parse = redis.call, struct.pack, struct.unpack
local sub, band, concat = string.sub, bit.band, table.concat
local base = sub(KEYS[1], 1, -2)
local m, b, s = KEYS[1], base .. 'b', base .. 's'

-- Microseconds; the last moment that a score (a double) tells apart.
local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local LAST = 9007199254740991

local HEAD = '>I6I7HBBI4' -- seq, created, queue, priority, flags, max attempts
-- state, settled kind, settled counter, counter, ends, attempt, due (0: as
-- created), claimed, then as HEAD; while running, then the worker, with its
-- length in front. What a claim or completion changes comes first, so that the
-- scripts of the hot path carry the rest over as it is.
local STATE = '>BBI6I6I7I4I7I7I6I7HBBI4'
local SCHEDULED, READY, RUNNING, COMPLETED, FAILED, CANCELLED = 0, 1, 2, 3, 4, 5
local FLAGGED, KEYED, EXTRA, PROGRESS, ERRORS, REASON, RESULT = 1, 2, 4, 8, 16, 32, 64

-- One command for many arguments, in parts that fit Lua's stack.
local function many(command, key, arguments)
    for from = 1, #arguments, 4000 do
        call(command, key, unpack(arguments, from, math.min(from + 3999, #arguments)))
    end
end

local counts, woken, changed, states, dirty = {}, {}, {}, {}, {}
local watched = call('EXISTS', base .. 'v') == 1

local function note(id)
    if watched then changed[#changed + 1] = id end
end

local function count(queue, state, change)
    local field = 'c' .. queue .. ':' .. state
    counts[field] = (counts[field] or 0) + change
end

-- Reads the states of these jobs at once; false where there is none.
local function fetch(ids)
    for from = 1, #ids, 4000 do
        local to = math.min(from + 3999, #ids)
        local found = call('HMGET', s, unpack(ids, from, to))
        for i = from, to do
            -- What the script itself has changed is not there yet.
            if states[ids[i]] == nil then states[ids[i]] = found[i - from + 1] end
        end
    end
end

local function load(id)
    local text = states[id]
    if text == nil then text = call('HGET', s, id) end
    local job = {}
    if text then
        job.state, job.settled, job.settled_counter, job.counter, job.ends, job.attempt, job.due,
            job.claimed, job.seq, job.created, job.queue, job.priority, job.flags, job.max =
            parse(STATE, text)
        if job.due == 0 then job.due = job.created end
        job.worker = sub(text, 61)
        return job
    end
    local body = call('HGET', b, id)
    if not body then return nil end
    job.seq, job.created, job.queue, job.priority, job.flags, job.max = parse(HEAD, body)
    job.state, job.settled, job.attempt, job.counter, job.settled_counter = READY, 0, 0, 0, 0
    job.due, job.claimed, job.ends, job.worker, job.fresh = job.created, 0, 0, '', true
    return job
end

local function save(id, job)
    states[id] = pack(STATE, job.state, job.settled, job.settled_counter, job.counter, job.ends,
        job.attempt, job.due, job.claimed, job.seq, job.created, job.queue, job.priority,
        job.flags, job.max) .. job.worker
    dirty[#dirty + 1] = id
end

local function has(job, flag) return band(job.flags, flag) ~= 0 end
local function set(job, flag) job.flags = bit.bor(job.flags, flag) end
local function clear(job, flag) job.flags = band(job.flags, 255 - flag) end
local function member(job, id) return pack('>I6', job.seq) .. id end

-- Moves a job to another state and into that state's index. Lists (`l`, `f`)
-- are left alone: their entries show by themselves that they are stale.
local function move(id, job, to)
    local queue = base .. job.queue .. ':'
    if job.state == SCHEDULED then
        call('ZREM', queue .. 's', member(job, id))
    elseif job.fresh then
        call('HINCRBY', base .. 'k', id, 1)
    elseif job.state == READY then
        call('ZREM', queue .. 'z' .. job.priority, member(job, id))
    elseif job.state == RUNNING then
        call('ZREM', queue .. 'r', id)
        job.worker = ''
    end
    count(job.queue, job.state, -1)
    count(job.queue, to, 1)
    job.state, job.fresh = to, nil
    if to == SCHEDULED or to == READY then
        job.ends = 0
        call('ZADD', queue .. (to == SCHEDULED and 's' or 'z' .. job.priority),
            string.format('%.0f', job.due), member(job, id))
        woken[job.queue] = true
    else
        job.ends = now
        call('RPUSH', base .. 'f' .. to, pack('>I7', now) .. id)
    end
    save(id, job)
    note(id)
end

-- The number and key that a job's unique key is held under.
local function key_of(job, id)
    local extra = call('HGET', base .. 'x', id)
    return pack('>H', job.queue) .. parse('>Hc0', extra)
end

-- Ends a job; frees the key that it held until then.
local function finish(id, job, state)
    if has(job, KEYED) then
        local key = key_of(job, id)
        local holder = call('HGET', base .. 'u', key)
        if holder and sub(holder, 1, 16) == id and parse('>I7', holder, 17) == 0 then
            call('HDEL', base .. 'u', key)
        end
    end
    move(id, job, state)
end

local function wait_until(id, job, due)
    job.due = math.min(due, LAST)
    move(id, job, job.due > now and SCHEDULED or READY)
end

-- Keeps the error of the attempt under way, and the nine before it.
local function keep_error(id, job, text)
    local kept = has(job, ERRORS) and call('HGET', base .. 'e', id) or ''
    local starts, at = {}, 1
    while at <= #kept do
        starts[#starts + 1] = at
        at = at + 13 + parse('>H', kept, at + 11)
    end
    if #starts > 9 then kept = sub(kept, starts[#starts - 8]) end
    call('HSET', base .. 'e', id, kept .. pack('>I4I7H', job.attempt, now, #text) .. text)
    set(job, ERRORS)
end

-- Ends a lease that has run out.
local function expire(id, job)
    keep_error(id, job, 'lease expired')
    if has(job, FLAGGED) then
        finish(id, job, CANCELLED)
    elseif job.attempt >= job.max then
        finish(id, job, FAILED)
    else
        move(id, job, READY)
    end
end

-- Ends expired leases of a queue, at most `bound`, earliest first.
local function end_expired(queue, bound)
    local ids = call('ZRANGEBYSCORE', base .. queue .. ':r', '-inf',
        string.format('%.0f', now), 'LIMIT', 0, bound)
    fetch(ids)
    for _, id in ipairs(ids) do
        local job = load(id)
        if job then expire(id, job) else call('ZREM', base .. queue .. ':r', id) end
    end
    return #ids
end

-- Promotes due jobs of a queue, at most `bound`, earliest due first.
local function promote(queue, bound)
    local members = call('ZRANGEBYSCORE', base .. queue .. ':s', '-inf',
        string.format('%.0f', now), 'LIMIT', 0, bound)
    local ids = {}
    for i, entry in ipairs(members) do ids[i] = sub(entry, 7) end
    fetch(ids)
    for i, id in ipairs(ids) do
        local job = load(id)
        if job then move(id, job, READY) else call('ZREM', base .. queue .. ':s', members[i]) end
    end
    return #ids
end

-- Puts a ticket where none is.
local function wake(name)
    local tickets = base .. 'w:' .. name
    if call('LLEN', tickets) == 0 then call('RPUSH', tickets, '1') end
end

-- Writes what the script has gathered. Every writing script ends with it.
local function flush()
    local fields = {}
    for _, id in ipairs(dirty) do
        fields[#fields + 1] = id
        fields[#fields + 1] = states[id]
    end
    many('HSET', s, fields)
    for field, change in pairs(counts) do
        if change ~= 0 then call('HINCRBY', m, field, change) end
    end
    for queue in pairs(woken) do
        local name, paused = unpack(call('HMGET', m, 'n' .. queue, 'p' .. queue))
        if not paused then wake(name) end
    end
    if #changed > 0 then
        call('PUBLISH', base:match('^[^{]*') .. 'changes', concat(changed))
    end
end
