-- Stores jobs of any form. ARGV: 'registered' or '', 'twice' where an id occurs twice,
-- the items, then the names of their queues.
--
-- Atomic: one script; the only refusals (shard not registered, OOM by the
-- missing flag allow-oom) come before the first write.
-- Bound: the caller sends at most 5,000 jobs or 8 MiB; O(log n) a job.
local reg = call('HGET', m, 'reg')
if not reg then
    if ARGV[1] ~= 'registered' then return 'U' end
    call('HSET', m, 'reg', 1)
end

local twice, items = ARGV[2] == 'twice', ARGV[3]
local queues = {}
for i = 4, #ARGV do
    local name = ARGV[i]
    local queue = call('HGET', m, 'q' .. name)
    if not queue then
        queue = call('HINCRBY', m, 'last', 1)
        call('HSET', m, 'q' .. name, queue, 'n' .. queue, name)
    end
    queues[#queues + 1] = tonumber(queue)
end

local ITEM = '>c16HBBBI7I7I4HI4'
local SIZE = 45
local ids, at = {}, 1
while at <= #items do
    ids[#ids + 1] = sub(items, at, at + 15)
    local extra, body = parse('>HI4', items, at + 39)
    at = at + SIZE + extra + body
end
local known = {}
for from = 1, #ids, 4000 do
    local to = math.min(from + 3999, #ids)
    local found = call('ZMSCORE', base .. 'a', unpack(ids, from, to))
    for i = from, to do known[i] = found[i - from + 1] end
end
local seq = call('HINCRBY', m, 'seq', #ids) - #ids

-- Takes a key, or says who holds it.
local function holder_of(key, id, period)
    local held = call('HGET', base .. 'u', key)
    if held then
        local over = parse('>I7', held, 17)
        if over == 0 or over > now then return sub(held, 1, 16) end
    end
    local over = period > 0 and math.min(now + period, LAST) or 0
    call('HSET', base .. 'u', key, id .. pack('>I7', over))
    if over > 0 then
        call('ZADD', base .. 'up', string.format('%.0f', over), key)
    elseif held then
        call('ZREM', base .. 'up', key)
    end
    return nil
end

local answers, bodies, all, extras, seen = {}, {}, {}, {}, {}
local lanes, ready, scheduled, n = {}, {}, {}, 0
at = 1
for i = 1, #ids do
    local id, index, priority, flags, kind, value, period, max, extra, body =
        parse(ITEM, items, at)
    local queue = queues[index + 1]
    at = at + SIZE
    local stored = not known[i] and not (twice and seen[id])
    local answer = 'C'
    if stored and flags >= 128 then
        local holder = holder_of(pack('>H', queue) .. parse('>Hc0', items, at), id, period)
        stored = not holder
        if holder and holder ~= id then answer = 'E' .. holder end
    end
    if stored then
        if twice then seen[id] = true end
        flags = band(flags, 127)
        if extra > 0 then
            local text = sub(items, at, at + extra - 1)
            extras[#extras + 1] = id
            extras[#extras + 1] = text
            local tag = 3 + parse('>H', text)
            for _ = 1, text:byte(tag) do
                local name
                name, tag = parse('>Bc0', text, tag + 1)
                tag = tag - 1
                call('ZADD', base .. 't:' .. name, 0, id)
            end
        end
        at = at + extra
        n = n + 1
        bodies[2 * n - 1] = id
        bodies[2 * n] = pack(HEAD, seq + i, now, queue, priority, flags, max)
            .. sub(items, at, at + body - 1)
        all[2 * n - 1] = '0'
        all[2 * n] = id
        local due = now
        if kind == 1 then due = math.min(now + value, LAST) end
        if kind == 2 then due = math.max(now, value) end
        if due > now then
            states[id] = pack(STATE, SCHEDULED, 0, 0, 0, 0, 0, due, 0, seq + i, now, queue,
                priority, flags, max)
            dirty[#dirty + 1] = id
            call('ZADD', base .. queue .. ':s', string.format('%.0f', due),
                pack('>I6', seq + i) .. id)
            scheduled[queue] = (scheduled[queue] or 0) + 1
        else
            local lane = queue .. ':l' .. priority
            local entries = lanes[lane]
            if not entries then
                entries = {}
                lanes[lane] = entries
            end
            entries[#entries + 1] = id
            ready[queue] = (ready[queue] or 0) + 1
        end
        woken[queue] = true
        note(id)
        at = at + body
    else
        at = at + extra + body
    end
    answers[i] = answer
end

many('HSET', b, bodies)
many('ZADD', base .. 'a', all)
many('HSET', base .. 'x', extras)
for lane, entries in pairs(lanes) do many('RPUSH', base .. lane, entries) end
for queue, number in pairs(ready) do count(queue, READY, number) end
for queue, number in pairs(scheduled) do count(queue, SCHEDULED, number) end
flush()
return concat(answers)
