-- Stores progress of held jobs. ARGV[1]: items of id, counter, values with
-- their length in front. Answers as a heartbeat does.
--
-- Atomic: one script; token and state are compared in it.
-- Bound: the caller sends at most 1,000 items of about 1 KiB; O(1) an item.
local items, at, answers = ARGV[1], 1, {}
local key = base .. 'g'
while at <= #items do
    local id, counter, size = parse('>c16I6H', items, at)
    local values, answer = sub(items, at + 24, at + 23 + size), 'S'
    at = at + 24 + size
    local job = load(id)
    if job and job.state == RUNNING and job.counter == counter then
        answer = has(job, FLAGGED) and 'C' or 'H'
        local sequence = 0
        if has(job, PROGRESS) then
            sequence = parse('>I6', call('HGET', key, id))
        else
            set(job, PROGRESS)
            save(id, job)
        end
        call('HSET', key, id, pack('>I6', sequence + 1) .. values)
        note(id)
    end
    answers[#answers + 1] = answer
end
flush()
return concat(answers)
