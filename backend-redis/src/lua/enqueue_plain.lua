-- Stores jobs that are due now and have neither key nor tags, as most do.
-- ARGV: 'registered' or '', how many groups; of each group queue, priority and
-- how many jobs; then the ids of all jobs, then the ends of their bodies, from
-- the priority in HEAD on. No id occurs twice. Answers U where the shard is not registered.
--
-- Atomic: one script; the only refusals (shard not registered, OOM by the
-- missing flag allow-oom) come before the first write.
-- Bound: the caller sends at most 5,000 jobs or 8 MiB; O(log n) a job.
if not call('HGET', m, 'reg') then
    if ARGV[1] ~= 'registered' then return 'U' end
    call('HSET', m, 'reg', 1)
end

local groups = tonumber(ARGV[2])
local first = 3 + 3 * groups
local jobs = (#ARGV - first + 1) / 2
local all = {}
for i = 1, jobs do
    all[2 * i - 1] = '0'
    all[2 * i] = ARGV[first + i - 1]
end
local added = 0
for from = 1, #all, 4000 do
    added = added
        + call('ZADD', base .. 'a', 'NX', unpack(all, from, math.min(from + 3999, #all)))
end
local some_known = added < jobs
local seq = call('HINCRBY', m, 'seq', added) - added

local at, fields, n = first, {}, 0
for group = 1, groups do
    local name, priority = ARGV[3 * group], ARGV[3 * group + 1]
    local queue = call('HGET', m, 'q' .. name)
    if not queue then
        queue = call('HINCRBY', m, 'last', 1)
        call('HSET', m, 'q' .. name, queue, 'n' .. queue, name)
    end
    queue = tonumber(queue)
    local stamp, entries, before = pack('>I7H', now, queue), {}, n
    for _ = 1, tonumber(ARGV[3 * group + 2]) do
        local id = ARGV[at]
        -- What was known before has a body already.
        if not (some_known and call('HEXISTS', b, id) == 1) then
            n = n + 1
            entries[n - before] = id
            fields[2 * n - 1] = id
            fields[2 * n] = pack('>I6', seq + n) .. stamp .. ARGV[at + jobs]
            if watched then note(id) end
        end
        at = at + 1
    end
    if n > before then
        many('RPUSH', base .. queue .. ':l' .. priority, entries)
        count(queue, READY, n - before)
        woken[queue] = true
    end
end
many('HSET', b, fields)
flush()
return 'D'
