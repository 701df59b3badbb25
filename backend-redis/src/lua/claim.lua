-- Takes jobs of one queue. KEYS[2]: the inbox of the process that asks.
-- ARGV: queue, limit, lease, worker with its length in front, most bytes.
-- Returns whether a bound was reached before the limit, and the jobs: id,
-- STATE without the worker, body.
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
if not queue or call('HEXISTS', m, 'p' .. queue) == 1 then return { 0, '' } end
queue = tonumber(queue)
local prefix = base .. queue .. ':'

local EXPIRED, PROMOTED, STALE = 200, 500, 2000
local more = end_expired(queue, EXPIRED) == EXPIRED
more = promote(queue, PROMOTED) == PROMOTED or more
woken = {}

local ends = math.min(now + lease, LAST)
local score = string.format('%.0f', ends)
local answer, leases, fields, taken, bytes, stale, largest = {}, {}, {}, 0, 0, 0, 1

-- Of a job claimed for the first time, all but what its HEAD says.
local first_claim = pack('>BBI6I6I7I4I7I7', RUNNING, 0, 0, 1, ends, 1, 0, now)

local function hand_out(id, new, body)
    taken = taken + 1
    fields[2 * taken - 1] = id
    fields[2 * taken] = new .. worker
    leases[2 * taken - 1] = score
    leases[2 * taken] = id
    answer[3 * taken - 2] = id
    answer[3 * taken - 1] = new
    answer[3 * taken] = body
    bytes = bytes + #body
    if #body > largest then largest = #body end
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
    hand_out(id, states[id], body)
end

-- The first of a lane: fresh jobs from the list, others from the set, merged
-- by due time and seq. Returns whether the lane may hold more.
local function round(list, set_, window)
    local fresh = call('LRANGE', list, 0, window - 1)
    local others = call('ZRANGE', set_, 0, window - 1, 'WITHSCORES')
    if #fresh == 0 and #others == 0 then return false end
    local fresh_ids, fresh_bodies, fresh_states = {}, {}, {}
    if #fresh > 0 then
        for i = 1, #fresh do fresh_ids[i] = sub(fresh[i], 7) end
        fresh_bodies = call('HMGET', b, unpack(fresh_ids))
        fresh_states = call('HMGET', s, unpack(fresh_ids))
    end
    local other_ids, other_bodies = {}, {}
    if #others > 0 then
        for i = 1, #others, 2 do other_ids[#other_ids + 1] = sub(others[i], 7) end
        other_bodies = call('HMGET', b, unpack(other_ids))
        fetch(other_ids)
    end
    local i, j, start = 1, 1, taken
    while taken - start < window and taken < limit and bytes < budget do
        -- What was touched since its enqueue, or purged, is not in this list.
        while i <= #fresh and (states[fresh_ids[i]] or fresh_states[i] or not fresh_bodies[i]
                or sub(fresh_bodies[i], 1, 6) ~= sub(fresh[i], 1, 6)) do
            i = i + 1
            stale = stale + 1
        end
        local one, other = i <= #fresh, j <= #other_ids
        -- A window that was used up may go on with an earlier job.
        if not one and #fresh == window then break end
        if not other and #other_ids == window then break end
        if one and other then
            local due, seq = tonumber(others[2 * j]), parse('>I6', others[2 * j - 1])
            local created = parse('>I7', fresh_bodies[i], 7)
            one = created < due or created == due and parse('>I6', fresh[i]) < seq
        end
        if one then
            hand_out(fresh_ids[i], first_claim .. sub(fresh_bodies[i], 1, 21), fresh_bodies[i])
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
return { more and 1 or 0, concat(answer) }
