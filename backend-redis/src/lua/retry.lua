-- Runs ended jobs again. ARGV[1]: ids. Answers R (ready), N (not found), E and
-- the id of the job that holds its key, or the digit of its state for each.
--
-- Atomic: one script; the key is taken in it.
-- Bound: the caller sends at most 1,000 ids; O(log n) an id.
local ids, answers = ARGV[1], {}
for at = 1, #ids, 16 do
    local id, answer = sub(ids, at, at + 15), 'N'
    local job = load(id)
    if job and job.state ~= FAILED and job.state ~= CANCELLED then
        answer = tostring(job.state)
    elseif job then
        answer = 'R'
        if has(job, KEYED) then
            local key = key_of(job, id)
            local held = call('HGET', base .. 'u', key)
            local over = held and parse('>I7', held, 17)
            if held and (over == 0 or over > now) then
                answer = 'E' .. sub(held, 1, 16)
            else
                call('HSET', base .. 'u', key, id .. pack('>I7', 0))
                call('ZREM', base .. 'up', key)
            end
        end
        if answer == 'R' then
            job.attempt = 0
            clear(job, FLAGGED)
            if has(job, RESULT) then
                clear(job, RESULT)
                call('HDEL', base .. 'r', id)
            end
            if has(job, PROGRESS) then
                call('HSET', base .. 'g', id, sub(call('HGET', base .. 'g', id), 1, 6))
            end
            wait_until(id, job, now)
        end
    end
    answers[#answers + 1] = answer
end
flush()
return concat(answers)
