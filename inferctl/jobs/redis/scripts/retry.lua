#!lua
-- ARGV: id.
local id = ARGV[2]
local there = seen(id, '*')
if there ~= 'there' then return { there } end
local state, size = unpack(redis.call('HMGET', job_of(id), 'state', 'size'))
if state ~= 'failed' and state ~= 'cancelled' then return { 'conflict', state } end
local items, done, failed = unpack(redis.call('HMGET', job_of(id), 'items', 'done', 'failed'))
if redis.call('HLEN', inputs_of(id)) < items - (done - failed) then return { 'forgotten' } end

local item = redis.call('BITPOS', problems_of(id), 1)
while item >= 0 do
  redis.call('HDEL', results_of(id), item)
  redis.call('SETBIT', answered_of(id), item, 0)
  item = redis.call('BITPOS', problems_of(id), 1, item + 1, -1, 'BIT')
end
redis.call('UNLINK', problems_of(id))
redis.call('HINCRBY', job_of(id), 'done', 0 - tonumber(failed))
redis.call('HSET', job_of(id), 'failed', 0, 'attempts', 0)
redis.call('HDEL', job_of(id), 'started', 'ended', 'expires', 'problem')
redis.call('ZREM', EXPIRY, id)
for _, place in ipairs(kept(id)) do redis.call('PERSIST', place) end
local place = idempotency(id)
if place then redis.call('PERSIST', place) end
moved(id, state, 'queued')
count('kept', -tonumber(size))
count('bytes', size)
queued(id, 0)
return { 'there', told(id) }
