-- Does chores of one shard. ARGV: the most leases to end, jobs to promote,
-- jobs to purge, keys to free; how long completed, failed and cancelled jobs
-- are kept. Returns how many of each it did, and whether it dropped entries of
-- finished jobs that had moved on.
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

local looked = 0
for state = COMPLETED, CANCELLED do
    local list, newest = base .. 'f' .. state, now - tonumber(ARGV[2 + state])
    while #gone < left and looked < 2 * left do
        local entry = call('LINDEX', list, 0)
        if not entry or parse('>I7', entry) > newest then break end
        local ends, ids = sub(entry, 1, 7), {}
        local most = math.min((#entry - 7) / 16, left - #gone)
        for i = 1, most do ids[i] = sub(entry, 16 * i - 8, 16 * i + 7) end
        fetch(ids)
        for _, id in ipairs(ids) do
            local text = states[id]
            if text and text:byte(1) == state and sub(text, 15, 21) == ends then
                local queue = parse('>H', text, 53)
                purge(id, text:byte(56), queue, state)
                states[id] = false
            end
        end
        looked = looked + most
        if 16 * most + 7 == #entry then
            call('LPOP', list)
        else
            call('LSET', list, 0, ends .. sub(entry, 16 * most + 8))
        end
    end
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
return { did_expire, did_promote, #gone, #over, looked > #gone and 1 or 0 }
