#!lua flags=no-writes
-- ARGV: id, fence, limit, most bytes, the item that it goes on after.
local id, limit, most_bytes = ARGV[2], tonumber(ARGV[4]), tonumber(ARGV[5])
if not claimed(id, ARGV[3]) then return {} end
local items = tonumber(redis.call('HGET', job_of(id), 'items'))
local bits = 8 * redis.call('STRLEN', answered_of(id))
local item, bytes, found = tonumber(ARGV[6]) + 1, 0, {}
while item < items and #found < 2 * limit do
  if item < bits then
    local free = redis.call('BITPOS', answered_of(id), 0, item, -1, 'BIT')
    item = free < 0 and bits or free
  end
  if item >= items then break end
  bytes = bytes + redis.call('HSTRLEN', inputs_of(id), item)
  if bytes > most_bytes and #found > 0 then break end
  table.insert(found, item)
  table.insert(found, redis.call('HGET', inputs_of(id), item) or '')
  item = item + 1
end
return found
