-- Ends claims. ARGV[1]: items of id, counter, kind of outcome, delay, text
-- (result, error or reason) with its length and one in front; 0: no text.
-- Answers A (accepted) or S (stale) for each.
--
-- Atomic: one script that cannot fail between its writes; token and state are
-- compared in it.
-- Bound: the caller sends at most 1,000 items or 8 MiB; O(log n) an item.
local items = ARGV[1]
local COMPLETE, RETRY, FAIL, SNOOZE, RELEASE = 1, 2, 3, 4, 5
local ITEM, SIZE = '>c16I6BI7I4', 34

local ids, at = {}, 1
while at <= #items do
    ids[#ids + 1] = sub(items, at, at + 15)
    at = at + SIZE + math.max(parse('>I4', items, at + 30) - 1, 0)
end
fetch(ids)

local function settle(id, job, kind, delay, text)
    local flagged = has(job, FLAGGED)
    job.settled, job.settled_counter = kind, job.counter
    if kind == RETRY or kind == FAIL then keep_error(id, job, text) end
    if kind == SNOOZE or kind == RELEASE then job.attempt = math.max(job.attempt - 1, 0) end
    if kind == FAIL then
        finish(id, job, FAILED)
    elseif flagged then
        finish(id, job, CANCELLED)
    elseif kind == RELEASE then
        move(id, job, READY)
    else
        if kind == SNOOZE and text then
            call('HSET', base .. 'y', id, '=' .. text)
            set(job, REASON)
        end
        wait_until(id, job, now + delay)
    end
end

local answers, done, results, ended, completed = {}, {}, {}, {}, {}
at = 1
for i = 1, #ids do
    local id, counter, kind, delay, size = parse(ITEM, items, at)
    local text = size > 0 and sub(items, at + SIZE, at + SIZE + size - 2) or nil
    at = at + SIZE + math.max(size - 1, 0)
    local old, answer = states[id], 'S'
    if old then
        local state, priority, flags, settled, queue, attempt, max, held, settled_counter, seq,
            created, due, claimed = parse(STATE, old)
        if state ~= RUNNING or held ~= counter then
            if settled_counter == counter and settled == kind then answer = 'A' end
        elseif kind ~= COMPLETE or band(flags, KEYED) ~= 0 then
            answer = 'A'
            local job = load(id)
            if kind == COMPLETE then
                job.settled, job.settled_counter = kind, counter
                if text then
                    results[#results + 1] = id
                    results[#results + 1] = text
                    set(job, RESULT)
                end
                finish(id, job, COMPLETED)
            else
                settle(id, job, kind, delay, text)
            end
        else
            -- What most jobs come to, in as few steps as can be.
            answer = 'A'
            if text then
                results[#results + 1] = id
                results[#results + 1] = text
                flags = flags + RESULT
            end
            states[id] = pack(STATE, COMPLETED, priority, flags, kind, queue, attempt, max,
                counter, counter, seq, created, due, claimed, now)
            dirty[#dirty + 1] = id
            changed[#changed + 1] = id
            local list = ended[queue]
            if not list then
                list = {}
                ended[queue] = list
            end
            list[#list + 1] = id
            completed[#completed + 1] = pack('>I7', now) .. id
        end
    end
    answers[i] = answer
end

for queue, list in pairs(ended) do
    many('ZREM', base .. queue .. ':r', list)
    count(queue, RUNNING, -#list)
    count(queue, COMPLETED, #list)
end
many('RPUSH', base .. 'f' .. COMPLETED, completed)
many('HSET', base .. 'r', results)
flush()
return concat(answers)
