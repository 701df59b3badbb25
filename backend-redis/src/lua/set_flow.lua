-- Opens or pauses a queue. ARGV: 'registered' or '', queue, 'open' or
-- 'paused'. Answers U where the shard is not registered.
--
-- Atomic: one script. Bound: O(1).
local name, flow = ARGV[2], ARGV[3]
if not call('HGET', m, 'reg') then
    if ARGV[1] ~= 'registered' then return 'U' end
    call('HSET', m, 'reg', 1)
end
local queue = call('HGET', m, 'q' .. name)
if not queue then
    queue = call('HINCRBY', m, 'last', 1)
    call('HSET', m, 'q' .. name, queue, 'n' .. queue, name)
end
if flow == 'paused' then
    call('HSET', m, 'p' .. queue, 1)
else
    call('HDEL', m, 'p' .. queue)
    wake(name)
end
return 'D'
