-- Ends claims. ARGV[1]: items of id, counter, kind of outcome (128 more where
-- something follows); ARGV[2]: what follows, item after item: delay, text
-- (result, error or reason) with its length and one in front, 0: no text;
-- ARGV[3]: 'twice' where an id occurs twice. Answers A (accepted) or S (stale)
-- for each.
--
-- Atomic: one script that cannot fail between its writes; token and state are
-- compared in it.
-- Bound: the caller sends at most 1,000 items or 8 MiB; O(log n) an item.
local items, more, twice, at = ARGV[1], ARGV[2], ARGV[3] == 'twice', 1
local COMPLETE, RETRY, FAIL, SNOOZE, RELEASE = 1, 2, 3, 4, 5

local ids, counters, kinds = {}, {}, {}
for i = 1, #items / 23 do
    ids[i], counters[i], kinds[i] = parse('>c16c6B', items, 23 * i - 22)
end
local found = call('HMGET', s, unpack(ids))
local one_queue = call('HGET', m, 'last') == '1' and 1

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
    local id, kind, counter = ids[i], kinds[i], counters[i]
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
    local old, answer = twice and states[id] or found[i], 'S'
    if old then
        -- The state, the counter, and all that a completion leaves as it is.
        local state, held, rest = parse('>Bxxxxxxxc6xxxxxxxc39', old)
        local flags = rest:byte(35)
        if state ~= RUNNING or held ~= counter then
            if sub(old, 3, 8) == counter and old:byte(2) == kind then answer = 'A' end
        elseif kind ~= COMPLETE or band(flags, KEYED) ~= 0 then
            answer = 'A'
            states[id] = old
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
            if text then
                results[#results + 1] = id
                results[#results + 1] = text
                rest = sub(rest, 1, 34) .. string.char(flags + RESULT) .. sub(rest, 36)
            end
            local new = '\3\1' .. counter .. counter .. stamp .. rest
            if twice then states[id] = new end
            n = n + 1
            fields[2 * n - 1] = id
            fields[2 * n] = new
            completed[n] = id
            if not one_queue then
                local queue = parse('>H', rest, 32)
                ended[queue] = ended[queue] or {}
                table.insert(ended[queue], id)
            end
            if watched then note(id) end
        end
    end
    answers[i] = answer
end

if one_queue and n > 0 then ended[one_queue] = completed end
for queue, list in pairs(ended) do
    many('ZREM', base .. queue .. ':r', list)
    count(queue, RUNNING, -#list)
    count(queue, COMPLETED, #list)
end
if n > 0 then call('RPUSH', base .. 'f' .. COMPLETED, stamp .. concat(completed)) end
many('HSET', base .. 'r', results)
many('HSET', s, fields)
flush()
return concat(answers)
