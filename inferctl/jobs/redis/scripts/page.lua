#!lua flags=allow-oom
-- ARGV: key, states between commas, limit, id of the job that the page begins behind or ''. Answers
-- the id that the next page begins behind, '' at the end, and the jobs; nothing if there was never
-- such a job of the key.
local MOST_LOOKED_AT, MOST_EVICTED = 500, 10000
local key, states, limit = ARGV[2], ',' .. ARGV[3] .. ',', tonumber(ARGV[4])
local list = key == '*' and LIST or listed_of(string.sub(key, 1, -2))
local below, following = '+inf', ARGV[5]
local found, looked_at, evictions = {}, 0, 0

if following ~= '' then
  local number, holder = listed(following)
  if not number or key ~= '*' and key ~= holder .. '.' then return nil end
  below = '(' .. number
end

local function look_at(id)
  local state = redis.call('HGET', job_of(id), 'state')
  if not state then
    redis.call('ZREM', list, id)
    evictions = evictions + 1
    return
  end
  looked_at = looked_at + 1
  following = id
  if string.find(states, ',' .. state .. ',', 1, true) and seen(id, '*') == 'there' then
    table.insert(found, told(id))
  end
end

-- Who asks for a rare state gets a short page rather than keep the others waiting.
local function is_enough()
  return #found == limit or looked_at == MOST_LOOKED_AT or evictions >= MOST_EVICTED
end

while not is_enough() do
  local some = redis.call('ZREVRANGEBYSCORE', list, below, '-inf', 'WITHSCORES', 'LIMIT', 0, 100)
  if #some == 0 then return { '', found } end
  for each = 1, #some, 2 do
    look_at(some[each])
    below = '(' .. some[each + 1]
    if is_enough() then break end
  end
end
local more = redis.call('ZREVRANGEBYSCORE', list, below, '-inf', 'LIMIT', 0, 1)
return { #more > 0 and following or '', found }
