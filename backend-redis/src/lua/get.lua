-- Reads jobs. ARGV[1]: ids; ARGV[2]: most bytes. Returns for each id, as far
-- as the bytes reach, a list of STATE, body, progress, errors, reason, result and
-- queue, each '' where there is none; an empty list where the job is not known.
--
-- Atomic: one script, so that a record is of one moment.
-- Bound: the caller sends at most 1,000 ids; reading ends with the record that
-- reaches the most bytes (8 MiB).
local ids, budget = ARGV[1], tonumber(ARGV[2])
local answers, bytes, names = {}, 0, {}
for at = 1, #ids, 16 do
    local id, answer = sub(ids, at, at + 15), {}
    local body = call('HGET', b, id)
    if body then
        local text = call('HGET', s, id) or ''
        local queue = parse('>H', body, 14)
        local flags = text == '' and body:byte(17) or text:byte(56)
        if not names[queue] then names[queue] = call('HGET', m, 'n' .. queue) end
        local function part(flag, key)
            return band(flags, flag) ~= 0 and call('HGET', base .. key, id) or ''
        end
        answer = { text, body, part(PROGRESS, 'g'), part(ERRORS, 'e'), part(REASON, 'y'),
            part(RESULT, 'r'), names[queue] }
        for _, text_ in ipairs(answer) do bytes = bytes + #text_ end
    end
    answers[#answers + 1] = answer
    if bytes >= budget then break end
end
return answers
