-- Ends claims. ARGV[1]: items of id, counter, kind of outcome (128 more where
-- something follows); ARGV[2]: what follows, item after item: delay, text
-- (result, error or reason) with its length and one in front; 0: no text.
-- Answers A (accepted) or S (stale) for each.
--
-- Atomic: one script that cannot fail between its writes; token and state are
-- compared in it.
-- Bound: the caller sends at most 1,000 items or 8 MiB; O(log n) an item.
local items, more, at = ARGV[1], ARGV[2], 1
local COMPLETE, RETRY, FAIL, SNOOZE, RELEASE = 1, 2, 3, 4, 5

local ids = {}
for from = 1, #items, 23 do ids[#ids + 1] = sub(items, from, from + 15) end
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

local answers, fields, results, ended, completed, n = {}, {}, {}, {}, {}, 0
local stamp = pack('>I7', now)
for i = 1, #ids do
    local id, kind = ids[i], items:byte(23 * i)
    local delay, text
    if kind >= 128 then
        local size
        kind = kind - 128
        delay, size, at = parse('>I7I4', more, at)
        if size > 0 then
            text = sub(more, at, at + size - 2)
            at = at + size - 1
        end
    end
    local counter = sub(items, 23 * i - 6, 23 * i - 1)
    local old, answer = states[id], 'S'
    if not old then
        answer = 'S'
    elseif old:byte(1) ~= RUNNING or sub(old, 9, 14) ~= counter then
        if sub(old, 3, 8) == counter and old:byte(2) == kind then answer = 'A' end
    elseif kind ~= COMPLETE or band(old:byte(56), KEYED) ~= 0 then
        answer = 'A'
        local job = load(id)
        if kind == COMPLETE then
            job.settled, job.settled_counter = kind, job.counter
            if text then
                call('HSET', base .. 'r', id, text)
                set(job, RESULT)
            end
            finish(id, job, COMPLETED)
        else
            settle(id, job, kind, delay or 0, text)
        end
    else
        -- What most jobs come to, in as few steps as can be.
        answer = 'A'
        local rest
        if text then
            results[#results + 1] = id
            results[#results + 1] = text
            rest = sub(old, 22, 55) .. string.char(old:byte(56) + RESULT) .. sub(old, 57, 60)
        else
            rest = sub(old, 22, 60)
        end
        local new = '\3\1' .. counter .. counter .. stamp .. rest
        states[id] = new
        n = n + 1
        fields[2 * n - 1] = id
        fields[2 * n] = new
        completed[n] = id
        local queue = sub(old, 53, 54)
        local list = ended[queue]
        if not list then
            list = {}
            ended[queue] = list
        end
        list[#list + 1] = id
        if watched then note(id) end
    end
    answers[i] = answer
end

for queue, list in pairs(ended) do
    queue = parse('>H', queue)
    many('ZREM', base .. queue .. ':r', list)
    count(queue, RUNNING, -#list)
    count(queue, COMPLETED, #list)
end
if n > 0 then call('RPUSH', base .. 'f' .. COMPLETED, stamp .. concat(completed)) end
many('HSET', base .. 'r', results)
many('HSET', s, fields)
flush()
return concat(answers)
