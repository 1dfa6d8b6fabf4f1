#!lua flags=no-writes
-- ARGV: id, key, first item, limit.
local id, item, limit = ARGV[2], tonumber(ARGV[4]), tonumber(ARGV[5])
local state = seen(id, ARGV[3])
local found = {}
while state == 'there' and #found < 2 * limit do
  item = redis.call('BITPOS', answered_of(id), 1, item, -1, 'BIT')
  if item < 0 then break end
  local result = redis.call('HGET', results_of(id), item)
  if result then
    table.insert(found, item)
    table.insert(found, result)
  end
  item = item + 1
end
return { state, found }
