-- Stores jobs that are due now and have neither key nor tags, as most do.
-- ARGV: 'registered' or '', how many groups; of each group queue, priority and
-- how many jobs; then of each job id and the end of its body, from the priority
-- in HEAD on. No id occurs twice. Answers U where the shard is not registered.
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
local all = {}
for at = first, #ARGV, 2 do
    all[#all + 1] = '0'
    all[#all + 1] = ARGV[at]
end
local added = 0
for from = 1, #all, 4000 do
    added = added
        + call('ZADD', base .. 'a', 'NX', unpack(all, from, math.min(from + 3999, #all)))
end
local some_known = 2 * added < #all
local seq = call('HINCRBY', m, 'seq', added) - added

local at, fields = first, {}
for group = 1, groups do
    local name, priority = ARGV[3 * group], ARGV[3 * group + 1]
    local queue = call('HGET', m, 'q' .. name)
    if not queue then
        queue = call('HINCRBY', m, 'last', 1)
        call('HSET', m, 'q' .. name, queue, 'n' .. queue, name)
    end
    queue = tonumber(queue)
    local stamp, entries, n = pack('>I7H', now, queue), {}, 0
    for _ = 1, tonumber(ARGV[3 * group + 2]) do
        local id = ARGV[at]
        -- What was known before has a body already.
        if not (some_known and call('HEXISTS', b, id) == 1) then
            seq, n = seq + 1, n + 1
            local order = pack('>I6', seq)
            entries[n] = order .. id
            fields[#fields + 1] = id
            fields[#fields + 1] = order .. stamp .. ARGV[at + 1]
            note(id)
        end
        at = at + 2
    end
    if n > 0 then
        many('RPUSH', base .. queue .. ':l' .. priority, entries)
        count(queue, READY, n)
        woken[queue] = true
    end
end
many('HSET', b, fields)
flush()
return 'D'
