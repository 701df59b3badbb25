-- How long until a claim on one of these queues may find something. ARGV:
-- queues. Returns microseconds, 0 where a job is ready; -1: time alone brings
-- nothing.
--
-- Atomic: one script that writes nothing. Bound: O(1) a queue.
local first = -1
for _, name in ipairs(ARGV) do
    local queue = call('HGET', m, 'q' .. name)
    if queue and call('HEXISTS', m, 'p' .. queue) == 0 then
        local prefix = base .. queue .. ':'
        if call('EXISTS', prefix .. 'l0', prefix .. 'l1', prefix .. 'l2', prefix .. 'l3',
                prefix .. 'z0', prefix .. 'z1', prefix .. 'z2', prefix .. 'z3') > 0 then
            return 0
        end
        for _, key in ipairs({ 's', 'r' }) do
            local head = call('ZRANGE', prefix .. key, 0, 0, 'WITHSCORES')
            if #head > 0 then
                local span = math.max(tonumber(head[2]) - now, 0)
                if first < 0 or span < first then first = span end
            end
        end
    end
end
return first
