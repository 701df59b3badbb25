-- Before a process waits for tickets of a queue: makes its inbox known, and
-- takes back tickets from inboxes of processes that are gone. KEYS[2]: the
-- inbox; ARGV: its name: the process's 32 digits and the queue's name. Answers 1 where a ticket is in the inbox already (its answer was lost).
--
-- Atomic: one script. Bound: 16 inboxes a call.
local inbox = ARGV[1]
local known = base .. 'o'
call('ZADD', known, string.format('%.0f', now), inbox)
local silent = call('ZRANGEBYSCORE', known, '-inf', string.format('%.0f', now - 10000000),
    'LIMIT', 0, 16)
for _, other in ipairs(silent) do
    call('ZREM', known, other)
    if call('DEL', base .. 'i:' .. other) == 1 then
        wake(sub(other, 33))
    end
end
return call('LLEN', KEYS[2]) > 0 and 1 or 0
