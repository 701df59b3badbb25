-- Finds jobs that match, highest id first. ARGV: the id to go on below, or '';
-- most ids to look at, most to return; a digit for each state, or ''; queue,
-- kind, created from and before, each or ''; then tags. Returns the last id
-- looked at ('' where the walk is over) and the ids found.
--
-- Atomic: one script; pages are stable because ids do not change their order.
-- Served by: `t` of the first tag where there is one, else `a`.
-- Bound: the caller's, at most 500 ids and 4 MiB of bodies.
local after, look, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local wanted, name, kind = ARGV[4], ARGV[5], ARGV[6]
local from, before = tonumber(ARGV[7]), tonumber(ARGV[8])
local queue
if name ~= '' then
    queue = tonumber(call('HGET', m, 'q' .. name) or '0')
    if queue == 0 then return { '', '' } end
end
local index = ARGV[9] and base .. 't:' .. ARGV[9] or base .. 'a'
local ids = call('ZREVRANGEBYLEX', index, after == '' and '+' or '(' .. after, '-', 'LIMIT', 0,
    look)
if #ids == 0 then return { '', '' } end
fetch(ids)

local found, last, bytes = {}, '', 0
for i, id in ipairs(ids) do
    local text, body = states[id], nil
    local matches = true
    local state = text and text:byte(1) or READY
    if wanted ~= '' then matches = wanted:find(state, 1, true) ~= nil end
    for tag = 10, #ARGV do
        matches = matches and call('ZSCORE', base .. 't:' .. ARGV[tag], id) and true
    end
    if matches and (kind ~= '' or not text and (queue or from or before)) then
        body = call('HGET', b, id)
        matches = body and true
        bytes = bytes + #(body or '')
    end
    if matches and (queue or from or before) then
        local of, created
        if text then
            of, created = parse('>H', text, 53), parse('>I7', text, 46)
        else
            of, created = parse('>H', body, 14), parse('>I7', body, 7)
        end
        matches = (not queue or of == queue) and (not from or created >= from)
            and (not before or created < before)
    end
    if matches and kind ~= '' then matches = parse('>Bc0', body, 26) == kind end
    if matches then found[#found + 1] = id end
    last = id
    if #found >= limit or bytes > 4194304 then
        look = i
        break
    end
end
if #ids < look then last = '' end
return { last, concat(found) }
