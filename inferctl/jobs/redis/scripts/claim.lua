#!lua flags=allow-oom
-- ARGV: owner, limit, one id or '', lease in seconds, most attempts, payload version that is known.
-- Answers the claims, and the ids of those that a newer version took in.
local owner, limit, only = ARGV[2], tonumber(ARGV[3]), ARGV[4]
local lease_s, most_attempts, known = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local claims, newer = {}, {}

-- A number that no claim had, whatever Redis lost: after the last of which it knows, and a time.
local function next_fence(id)
  local after_last = tonumber(redis.call('HGET', job_of(id), 'fence')) + 1
  return string.format('%.0f', math.max(after_last, tonumber(clock[1]) * 1e6 + tonumber(clock[2])))
end

local function claim(id)
  local payload = redis.call('HGET', job_of(id), 'payload')
  if not payload then -- there is nothing to do
    evicted(QUEUE, id)
    return false
  end
  if tonumber(payload) > known then
    table.insert(newer, id)
    return true
  end
  redis.call('ZREM', QUEUE, id)
  moved(id, 'queued', 'running')
  local attempt = redis.call('HINCRBY', job_of(id), 'attempts', 1)
  local fence = next_fence(id)
  redis.call('HSET', job_of(id), 'owner', owner, 'fence', fence)
  redis.call('HSETNX', job_of(id), 'started', seconds(now))
  redis.call('ZADD', LEASES, seconds(now + lease_s), id)
  local job = redis.call('HMGET', job_of(id), 'model', 'version', 'content_type', 'query', 'bulk',
    'items', 'done', 'failed')
  table.insert(claims, { id, fence, attempt, attempt >= most_attempts and 1 or 0, unpack(job) })
  return false
end

promote()
if only ~= '' then
  if redis.call('ZSCORE', QUEUE, only) then claim(only) end
else
  local passed = 0
  while #claims < limit and passed < 1000 do
    local id = redis.call('ZRANGE', QUEUE, passed, passed)[1]
    if not id then break end
    if claim(id) then passed = passed + 1 end
  end
end
return { claims, newer }
