-- Extends leases. ARGV: lease, tokens of id and counter. Answers H (held), C
-- (cancel requested) or S (stale) for each.
--
-- Atomic: one script; token and state are compared in it.
-- Bound: the caller sends at most 1,000 tokens; O(log n) a token.
local ends, tokens = math.min(now + tonumber(ARGV[1]), LAST), ARGV[2]
local score = string.format('%.0f', ends)
local ids = {}
for at = 1, #tokens, 22 do ids[#ids + 1] = sub(tokens, at, at + 15) end
fetch(ids)

local answers, leases = {}, {}
for i, id in ipairs(ids) do
    local counter, answer = parse('>I6', tokens, 22 * i - 5), 'S'
    local job = states[id] and load(id)
    if job and job.state == RUNNING and job.counter == counter then
        answer = has(job, FLAGGED) and 'C' or 'H'
        job.ends = ends
        save(id, job)
        local list = leases[job.queue] or {}
        leases[job.queue] = list
        list[#list + 1] = score
        list[#list + 1] = id
    end
    answers[i] = answer
end
for queue, list in pairs(leases) do many('ZADD', base .. queue .. ':r', list) end
flush()
return concat(answers)
