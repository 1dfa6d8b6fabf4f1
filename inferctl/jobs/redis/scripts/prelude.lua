-- What every script begins with. ARGV[1] is the prefix of all keys, ARGV[2] and on are its own.
local prefix = ARGV[1]
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1e6

local QUEUE = prefix .. 'queue' -- waits: id by its number, so the oldest is first
local DELAYED = prefix .. 'delayed' -- waits for a time: id by when that is
local LEASES = prefix .. 'leases' -- is being done: id by when its lease ends
local EXPIRY = prefix .. 'expiry' -- is over: id by when it is forgotten
local COUNTS = prefix .. 'counts' -- jobs that are over by state; inputs of those that are open, in
-- bytes, and of those that ended and may be asked for again, kept; exact, while none was evicted
local SWEPT = prefix .. 'swept' -- when the last sweep was, at, and since when there were some, well
local LIST = prefix .. 'list' -- all: id by its number; `list:KEY` those of an API key

-- What a job is told by, in this order: records.py reads it.
local FIELDS = {
  'id', 'model', 'version', 'key', 'state', 'bulk', 'items', 'done', 'failed', 'attempts',
  'revision', 'created', 'started', 'ended', 'expires', 'problem', 'payload',
}

local function job_of(id) return prefix .. 'job:' .. id end
local function inputs_of(id) return prefix .. 'inputs:' .. id end
local function results_of(id) return prefix .. 'results:' .. id end
-- Bits by item: those that have a result, and those of them whose result is a problem.
local function answered_of(id) return prefix .. 'answered:' .. id end
local function problems_of(id) return prefix .. 'problems:' .. id end
local function gone_of(id) return prefix .. 'gone:' .. id end
local function listed_of(key) return prefix .. 'list:' .. key end
local function idempotency_of(key, name) return prefix .. 'idempotency:' .. key .. ':' .. name end

-- A time as text: Lua's own keeps 14 digits, which is not enough.
local function seconds(time) return string.format('%.6f', time) end
local function milliseconds(span) return string.format('%d', math.max(1, math.ceil(span * 1000))) end

local function told(id) return redis.call('HMGET', job_of(id), unpack(FIELDS)) end

-- A counter that went with an eviction begins at 0 again. Less nothing is -0, which Redis refuses.
local function count(name, by)
  by = tonumber(by) + 0
  if redis.call('HINCRBY', COUNTS, name, by) < 0 then redis.call('HSET', COUNTS, name, 0) end
end

local function counted(name) return tonumber(redis.call('HGET', COUNTS, name) or 0) end

-- Those that are open are counted by what lists them.
local OPEN = { queued = true, running = true }
local function waiting() return redis.call('ZCARD', QUEUE) + redis.call('ZCARD', DELAYED) end
local function running() return redis.call('ZCARD', LEASES) end

local function moved(id, from, to)
  redis.call('HSET', job_of(id), 'state', to)
  redis.call('HINCRBY', job_of(id), 'revision', 1)
  if not OPEN[from] then count(from, -1) end
  if not OPEN[to] then count(to, 1) end
end

-- Nothing is there of one that is listed: the next sweep counts anew.
local function evicted(place, id)
  redis.call('ZREM', place, id)
  redis.call('HDEL', COUNTS, 'exact')
end

-- The number and the key of a job that is there or was; nothing of one that never was.
local function listed(id)
  local number, key = unpack(redis.call('HMGET', job_of(id), 'number', 'key'))
  if number then return number, key end
  return string.match(redis.call('GET', gone_of(id)) or '', '^(%d+) (.*)$')
end

-- 'there', 'gone' or 'missing' of a job, as the holder of a key sees it; '*' sees all.
local function seen(id, key)
  local number, holder = listed(id)
  if not number or key ~= '*' and key ~= holder .. '.' then return 'missing' end
  local there, expires = unpack(redis.call('HMGET', job_of(id), 'id', 'expires'))
  if not there or expires and expires ~= '' and tonumber(expires) <= now then return 'gone' end
  return 'there'
end

-- Whether a claim of this number is the one that counts.
local function claimed(id, fence)
  local state, last = unpack(redis.call('HMGET', job_of(id), 'state', 'fence'))
  return state == 'running' and last == fence
end

-- It waits, for a time or not.
local function queued(id, after_s)
  redis.call('ZREM', LEASES, id)
  local number = redis.call('HGET', job_of(id), 'number')
  if after_s > 0 then
    -- It is sent by the first sweep that finds its time come.
    redis.call('HSET', job_of(id), 'sent', 0)
    redis.call('ZADD', DELAYED, seconds(now + after_s), id)
  else
    redis.call('HSET', job_of(id), 'sent', seconds(now))
    redis.call('ZADD', QUEUE, number, id)
  end
end

-- Those whose time came wait as all do.
local function promote()
  local due = redis.call('ZRANGEBYSCORE', DELAYED, '-inf', seconds(now), 'LIMIT', 0, 1000)
  for _, id in ipairs(due) do
    local number = redis.call('HGET', job_of(id), 'number')
    if number then
      redis.call('ZREM', DELAYED, id)
      redis.call('ZADD', QUEUE, number, id)
    else
      evicted(DELAYED, id)
    end
  end
end

-- All that is kept of a job's items.
local function kept(id)
  return { inputs_of(id), results_of(id), answered_of(id), problems_of(id) }
end

-- The key of the idempotency key that it came with, if it still is this job's.
local function idempotency(id)
  local key, name = unpack(redis.call('HMGET', job_of(id), 'key', 'idempotency'))
  if not name or name == '' then return nil end
  local place = idempotency_of(key, name)
  if redis.call('HGET', place, 'id') == id then return place end
end

-- It has a terminal state, and is kept for so long from now; its inputs too, if it did not come to
-- a result, as long as there are no more than so many bytes of those.
local function over(id, to, problem, keep_s, most_kept)
  local from, size = unpack(redis.call('HMGET', job_of(id), 'state', 'size'))
  for _, place in ipairs({ QUEUE, DELAYED, LEASES }) do redis.call('ZREM', place, id) end
  moved(id, from, to)
  count('bytes', -tonumber(size))
  if to == 'done' or counted('kept') + tonumber(size) > most_kept then
    redis.call('UNLINK', inputs_of(id))
    redis.call('HSET', job_of(id), 'size', 0)
  else
    count('kept', size)
  end
  redis.call('HSET', job_of(id), 'ended', seconds(now), 'expires', seconds(now + keep_s),
    'problem', problem)
  redis.call('ZADD', EXPIRY, seconds(now + keep_s), id)
  -- Where nobody sweeps, Redis itself forgets, a day later: not what a sweep has to know of it.
  for _, place in ipairs(kept(id)) do
    redis.call('PEXPIRE', place, milliseconds(keep_s + 86400))
  end
  local place = idempotency(id)
  if place then redis.call('PEXPIRE', place, milliseconds(keep_s)) end
  -- What ended in the last minute tells those who find no room when to come again.
  local slot = prefix .. 'ended:' .. math.floor(now / 10)
  redis.call('INCR', slot)
  redis.call('EXPIRE', slot, 70)
end

-- Nothing is left of one that is over, but that it was there, for a week.
local function bury(id)
  local state, size = unpack(redis.call('HMGET', job_of(id), 'state', 'size'))
  local number, key = listed(id)
  local place = idempotency(id)
  if place then redis.call('UNLINK', place) end
  redis.call('ZREM', EXPIRY, id)
  redis.call('ZREM', LIST, id)
  if state then
    redis.call('ZREM', listed_of(key), id)
    redis.call('SET', gone_of(id), number .. ' ' .. key, 'EX', 7 * 86400)
    count(state, -1)
    count('kept', -tonumber(size))
  end
  redis.call('UNLINK', job_of(id), unpack(kept(id)))
end
