#!lua
-- ARGV: most jobs, most bytes, payload version, then of each job: id, model, version, key, content
-- type, query, whether bulk, idempotency key, fingerprint, number of items, the items.
local most_jobs, most_bytes, payload = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local place = 5

local function next_one()
  place = place + 1
  return ARGV[place - 1]
end

local function ended_in_a_minute()
  local ended = 0
  for ago = 0, 5 do
    local part = redis.call('GET', prefix .. 'ended:' .. math.floor(now / 10) - ago)
    ended = ended + tonumber(part or 0)
  end
  return ended
end

-- It was taken in, but nobody heard of it in time.
local function asked_again(id, key)
  if redis.call('HGET', job_of(id), 'key') == key then return { 'new', told(id) } end
end

local function before(key, name, fingerprint)
  if name == '' then return nil end
  local id, print = unpack(redis.call('HMGET', idempotency_of(key, name), 'id', 'fingerprint'))
  if not id or seen(id, '*') ~= 'there' then return nil end
  return print == fingerprint and { 'old', told(id) } or { 'reused' }
end

local function put(id, items, size, fields)
  local number = redis.call('INCR', prefix .. 'number')
  redis.call('HSET', job_of(id), 'id', id, 'state', 'queued', 'items', items, 'size', size,
    'done', 0, 'failed', 0, 'attempts', 0, 'fence', 0, 'revision', 1, 'number', number,
    'created', seconds(now), 'sent', seconds(now), 'payload', payload, unpack(fields))
  for item = 0, items - 1 do
    redis.call('HSET', inputs_of(id), item, ARGV[place + item])
  end
  redis.call('ZADD', QUEUE, number, id)
  redis.call('ZADD', LIST, number, id)
  count('bytes', size)
  return number
end

local function submit()
  local id, model, version, key = next_one(), next_one(), next_one(), next_one()
  local content_type, query, bulk = next_one(), next_one(), next_one()
  local name, fingerprint, items = next_one(), next_one(), tonumber(next_one())
  local first = place
  local size = 0
  for item = first, first + items - 1 do size = size + #ARGV[item] end

  local outcome = asked_again(id, key) or before(key, name, fingerprint)
  if outcome then
    place = first + items
    return outcome
  end
  if size > most_bytes then
    outcome = { 'large' }
  elseif waiting() + running() >= most_jobs
    or counted('bytes') + size > most_bytes then
    outcome = { 'full', ended_in_a_minute() }
  else
    local number = put(id, items, size, {
      'model', model, 'version', version, 'key', key, 'content_type', content_type,
      'query', query, 'bulk', bulk, 'idempotency', name,
    })
    redis.call('ZADD', listed_of(key), number, id)
    if name ~= '' then
      local told_by = idempotency_of(key, name)
      redis.call('DEL', told_by)
      redis.call('HSET', told_by, 'id', id, 'fingerprint', fingerprint)
    end
    outcome = { 'new', told(id) }
  end
  place = first + items
  return outcome
end

local outcomes = {}
while place <= #ARGV do table.insert(outcomes, submit()) end
return outcomes
