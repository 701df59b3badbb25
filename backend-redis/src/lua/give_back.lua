-- Gives tickets back that nobody in this process waits for any more. KEYS[2]:
-- the inbox; ARGV: its name, the queue.
--
-- Atomic: one script. Bound: O(1).
call('ZREM', base .. 'o', ARGV[1])
if call('DEL', KEYS[2]) == 1 then wake(sub(ARGV[1], 33)) end
return 0
