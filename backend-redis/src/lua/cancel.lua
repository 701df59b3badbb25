-- Cancels jobs. ARGV[1]: ids. Answers D (done), R (requested), N (not found)
-- or the digit of the state in which it ended for each.
--
-- Atomic: one script.
-- Bound: the caller sends at most 1,000 ids; O(log n) an id, and the body of a
-- job that was never touched is read.
local ids, answers = ARGV[1], {}
for at = 1, #ids, 16 do
    local id, answer = sub(ids, at, at + 15), 'N'
    local job = load(id)
    if job then
        if job.state == SCHEDULED or job.state == READY then
            answer = 'D'
            finish(id, job, CANCELLED)
        elseif job.state == RUNNING then
            answer = 'R'
            if not has(job, FLAGGED) then
                set(job, FLAGGED)
                save(id, job)
                note(id)
            end
        else
            answer = job.state == CANCELLED and 'D' or tostring(job.state)
        end
    end
    answers[#answers + 1] = answer
end
flush()
return concat(answers)
