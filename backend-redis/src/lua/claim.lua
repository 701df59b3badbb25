-- Takes jobs of one queue. KEYS[2]: the inbox of the process that asks.
-- ARGV: queue, limit, lease, worker with its length in front, most bytes.
-- Returns whether a bound was reached before the limit, the end of the leases,
-- and the jobs, as texts to be read in one: F, id and body of one that is claimed
-- for the first time; else T, id, STATE without the worker, body.
--
-- Atomic: expiry, promotion, order, counter and lease are one script, and the
-- ticket in the inbox is used up by the same one: whoever dies before it has
-- lost a ticket that others find, and after it holds jobs by a lease.
-- Served by: the heads of `l` and `z`, both in the order of claims.
-- Bound: 200 expired leases, 500 promotions, 2,000 stale entries, the limit
-- (the caller's, at most 1,000) and about 1 MiB of bodies beyond the first.
local name, limit, lease = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local worker, budget = ARGV[4], tonumber(ARGV[5])
call('DEL', KEYS[2])
local queue = call('HGET', m, 'q' .. name)
if not queue or call('HEXISTS', m, 'p' .. queue) == 1 then return { 0, 0, {} } end
queue = tonumber(queue)
local prefix = base .. queue .. ':'

local EXPIRED, PROMOTED, STALE = 200, 500, 2000
local more = end_expired(queue, EXPIRED) == EXPIRED
more = promote(queue, PROMOTED) == PROMOTED or more
woken = {}

local ends = math.min(now + lease, LAST)
local score = string.format('%.0f', ends)
local leases, fields, taken, bytes, stale, largest = {}, {}, 0, 0, 0, 1

-- The answer's texts; those of `answer` from `start` on, of so many bytes, are not
-- among them yet. `concat` joins 8 KiB in one step. Of more it makes, and hashes, a
-- text at every step between: one answer of 1 MiB cost half of the script's time.
local texts, answer, start, pending, JOINED = {}, {}, 1, 0, 8000
local function join(upto)
    if upto >= start then texts[#texts + 1] = concat(answer, '', start, upto) end
    start, pending = upto + 1, 0
end

-- Of a job claimed for the first time, all but what its HEAD says.
local first_claim = pack('>BBI6I6I7I4I7I7', RUNNING, 0, 0, 1, ends, 1, 0, now)

local function hand_out(form, id, state, body)
    taken = taken + 1
    fields[2 * taken - 1] = id
    fields[2 * taken] = state
    leases[2 * taken - 1] = score
    leases[2 * taken] = id
    local size = #body
    if pending + size + 17 > JOINED then join(3 * taken - 3) end
    answer[3 * taken - 2], answer[3 * taken - 1], answer[3 * taken] = form, id, body
    pending = pending + size + 17
    if size > JOINED then
        join(3 * taken - 1)
        join(3 * taken)
    end
    bytes = bytes + size
    if size > largest then largest = size end
    if watched then note(id) end
end

-- Hands out a job that was touched since its enqueue.
local function take(id, body)
    local job = load(id)
    if has(job, PROGRESS) then
        call('HSET', base .. 'g', id, sub(call('HGET', base .. 'g', id), 1, 6))
    end
    if has(job, REASON) then
        call('HDEL', base .. 'y', id)
        clear(job, REASON)
    end
    job.state, job.ends, job.claimed, job.worker = RUNNING, ends, now, ''
    job.attempt, job.counter = job.attempt + 1, job.counter + 1
    save(id, job)
    hand_out('T', id, states[id] .. worker, states[id] .. body)
end

-- The first of a lane: fresh jobs from the list, others from the set, merged
-- by due time and seq. Returns whether the lane may hold more.
local touched = call('EXISTS', base .. 'k') == 1
local function round(list, set_, window)
    local fresh = call('LRANGE', list, 0, window - 1)
    local others = call('ZRANGE', set_, 0, window - 1, 'WITHSCORES')
    if #fresh == 0 and #others == 0 then return false end
    local bodies, dropped = {}, {}
    if #fresh > 0 then
        bodies = call('HMGET', b, unpack(fresh))
        if touched then dropped = call('HMGET', base .. 'k', unpack(fresh)) end
    end
    local other_ids, other_bodies = {}, {}
    if #others > 0 then
        for i = 1, #others, 2 do other_ids[#other_ids + 1] = sub(others[i], 7) end
        other_bodies = call('HMGET', b, unpack(other_ids))
        fetch(other_ids)
    end
    local i, j, start = 1, 1, taken
    while taken - start < window and taken < limit and bytes < budget do
        -- What was touched since its enqueue is not in this list any more.
        while dropped[i] or i <= #fresh and not bodies[i] do
            if dropped[i] and call('HINCRBY', base .. 'k', fresh[i], -1) <= 0 then
                call('HDEL', base .. 'k', fresh[i])
                -- The same id once more, of a job that was purged and came again.
                for later = i + 1, #fresh do
                    if fresh[later] == fresh[i] then dropped[later] = false end
                end
            end
            i = i + 1
            stale = stale + 1
        end
        local one, other = i <= #fresh, j <= #other_ids
        -- A window that was used up may go on with an earlier job.
        if not one and #fresh == window then break end
        if not other and #other_ids == window then break end
        if one and other then
            local due, seq = tonumber(others[2 * j]), parse('>I6', others[2 * j - 1])
            local fresh_seq, created = parse('>I6I7', bodies[i])
            one = created < due or created == due and fresh_seq < seq
        end
        if one then
            local body = bodies[i]
            hand_out('F', fresh[i], first_claim .. sub(body, 1, 21) .. worker, body)
            i = i + 1
        elseif other then
            -- One without a record or a body was tampered with: it is dropped.
            if states[other_ids[j]] and other_bodies[j] then
                take(other_ids[j], other_bodies[j])
            end
            j = j + 1
        else
            break
        end
    end
    if i > 1 then call('LTRIM', list, i - 1, -1) end
    if j > 1 then call('ZREMRANGEBYRANK', set_, 0, j - 2) end
    return i > #fresh and #fresh == window or j > #other_ids and #other_ids == window
        or i <= #fresh or j <= #other_ids
end

for priority = 3, 0, -1 do
    local window, again = 16, true
    while again and taken < limit and bytes < budget and stale < STALE do
        again = round(prefix .. 'l' .. priority, prefix .. 'z' .. priority,
            math.min(window, limit - taken))
        -- As many bodies as fit, if all are as large as the largest so far.
        window = math.max(1, math.min(500, math.floor((budget - bytes) / largest)))
    end
    more = more or again and taken < limit
end

if taken > 0 then
    count(queue, READY, -taken)
    count(queue, RUNNING, taken)
    many('ZADD', prefix .. 'r', leases)
end
-- Others are told while there is more; else the ticket has served.
if call('EXISTS', prefix .. 'l0', prefix .. 'l1', prefix .. 'l2', prefix .. 'l3',
        prefix .. 'z0', prefix .. 'z1', prefix .. 'z2', prefix .. 'z3') > 0 then
    woken[queue] = true
else
    call('DEL', base .. 'w:' .. name)
end
flush()
many('HSET', s, fields)
join(#answer)
return { more and 1 or 0, ends, texts }
