-- Does chores of one shard. ARGV: the most leases to end, jobs to promote,
-- jobs to purge, keys to free; how long completed, failed and cancelled jobs
-- are kept. Returns how many of each it did, and whether stale entries were
-- left.
--
-- Atomic: one script. A job is purged with everything that is kept of it.
-- Served by: the starts of `r`, `s`, `f` and `up`, each in the order of time.
-- Bound: the caller's, at most 500 of each, and as many stale entries of `f`.
local expired, promoted = tonumber(ARGV[1]), tonumber(ARGV[2])
local left, keys = tonumber(ARGV[3]), tonumber(ARGV[4])

local did_expire, did_promote = 0, 0
for queue = 1, tonumber(call('HGET', m, 'last') or '0') do
    if did_expire < expired then
        did_expire = did_expire + end_expired(queue, expired - did_expire)
    end
    if did_promote < promoted then
        did_promote = did_promote + promote(queue, promoted - did_promote)
    end
end
flush()
counts, woken, changed, states, dirty = {}, {}, {}, {}, {}

local gone = {}
local function purge(id, flags, queue, state)
    gone[#gone + 1] = id
    note(id)
    count(queue, state, -1)
    if band(flags, EXTRA) ~= 0 then
        local extra = call('HGET', base .. 'x', id)
        local at = 3 + parse('>H', extra)
        for _ = 1, extra:byte(at) do
            local tag
            tag, at = parse('>Bc0', extra, at + 1)
            at = at - 1
            call('ZREM', base .. 't:' .. tag, id)
        end
        call('HDEL', base .. 'x', id)
    end
    if band(flags, PROGRESS) ~= 0 then call('HDEL', base .. 'g', id) end
    if band(flags, ERRORS) ~= 0 then call('HDEL', base .. 'e', id) end
    if band(flags, REASON) ~= 0 then call('HDEL', base .. 'y', id) end
    if band(flags, RESULT) ~= 0 then call('HDEL', base .. 'r', id) end
end

local stale_left = false
for state = COMPLETED, CANCELLED do
    local list, newest = base .. 'f' .. state, now - tonumber(ARGV[2 + state])
    local entries = left > #gone and call('LRANGE', list, 0, left - #gone - 1) or {}
    local ids, used = {}, 0
    for i, entry in ipairs(entries) do ids[i] = sub(entry, 8) end
    fetch(ids)
    for i, entry in ipairs(entries) do
        local text, ends = states[ids[i]], parse('>I7', entry)
        if ends > newest then break end
        used = i
        if text then
            if text:byte(1) == state and parse('>I7', text, 15) == ends then
                local queue = parse('>H', text, 53)
                purge(ids[i], text:byte(56), queue, state)
                states[ids[i]] = false
            end
        end
    end
    if used > 0 then call('LTRIM', list, used, -1) end
    stale_left = stale_left or used > 0 and used == left
end
if #gone > 0 then
    many('HDEL', b, gone)
    many('HDEL', s, gone)
    many('ZREM', base .. 'a', gone)
end

local over = keys > 0 and call('ZRANGEBYSCORE', base .. 'up', '-inf',
    string.format('%.0f', now), 'LIMIT', 0, keys) or {}
for _, key in ipairs(over) do
    call('HDEL', base .. 'u', key)
    call('ZREM', base .. 'up', key)
end
flush()
return { did_expire, did_promote, #gone, #over, stale_left and 1 or 0 }
