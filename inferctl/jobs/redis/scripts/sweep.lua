#!lua flags=allow-oom
-- ARGV: most attempts, the problem of a job that has no attempt left, for how many seconds jobs are
-- kept, most bytes of inputs of all that ended, the list that carries ids, how long a lease is (and
-- after how long an id is sent again), after how long all have come back once Redis has, the first
-- pause of a job that comes back, its growth and the longest one, then the owners that are dead.
-- Answers how many were queued again, failed, expired; whether there may be more; the ids to send;
-- counts by state; in how many seconds something is due, '' if nothing is.
local SOME = 1000
-- Sweeps are 5 s apart where somebody can do them.
local LEAST_GAP_S = 7.5
local most_attempts, problem = tonumber(ARGV[2]), ARGV[3]
local keep_s, most_kept = tonumber(ARGV[4]), tonumber(ARGV[5])
local carried, lease_s = ARGV[6], tonumber(ARGV[7])
local return_s = tonumber(ARGV[8])
local first_s, growth, longest_s = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
local redelivered, exhausted, send = 0, 0, {}

-- Whoever did it may have died of it: it is let be for a while after `from`.
local function take_back(id, from)
  local attempts = redis.call('HGET', job_of(id), 'attempts')
  if not attempts then
    evicted(LEASES, id)
  elseif tonumber(attempts) >= most_attempts then
    over(id, 'failed', problem, keep_s, most_kept)
    exhausted = exhausted + 1
  else
    local after_s = from + math.min(first_s * growth ^ (attempts - 1), longest_s) - now
    moved(id, 'running', 'queued')
    queued(id, math.max(0, after_s))
    if after_s <= 0 then table.insert(send, id) end
    redelivered = redelivered + 1
  end
end

-- The bytes of those that are open, of which some were evicted, or their count was.
local function count_anew()
  local bytes = 0
  for _, place in ipairs({ QUEUE, DELAYED, LEASES }) do
    for _, id in ipairs(redis.call('ZRANGE', place, 0, -1)) do
      local size = redis.call('HGET', job_of(id), 'size')
      if size then bytes = bytes + tonumber(size) else redis.call('ZREM', place, id) end
    end
  end
  redis.call('HSET', COUNTS, 'bytes', string.format('%.0f', bytes), 'exact', 1)
end

local dead = {}
for each = 12, #ARGV do dead[ARGV[each]] = true end
if next(dead) then
  for _, id in ipairs(redis.call('ZRANGE', LEASES, 0, -1)) do
    if dead[redis.call('HGET', job_of(id), 'owner') or ''] then take_back(id, now) end
  end
end

-- Leases that ended while nobody could use Redis are over once their owners had time to come back.
local at, well = unpack(redis.call('HMGET', SWEPT, 'at', 'well'))
local gap_s = math.max(lease_s / 2, LEAST_GAP_S)
if at and math.abs(now - at) > gap_s then well = seconds(now) end
redis.call('HSET', SWEPT, 'at', seconds(now), 'well', well or 0)
local back_s = (well or 0) + return_s - now
local late = redis.call('ZRANGEBYSCORE', LEASES, '-inf', seconds(now), 'WITHSCORES', 'LIMIT', 0,
  SOME)
if back_s <= 0 then
  for each = 1, #late, 2 do take_back(late[each], tonumber(late[each + 1])) end
end
local old = redis.call('ZRANGEBYSCORE', EXPIRY, '-inf', seconds(now), 'LIMIT', 0, SOME)
for _, id in ipairs(old) do bury(id) end

-- An id may be lost on its way, with a worker that had not begun it, or not have been sent since its
-- time had not come. As many are sent again as the carrier has too few.
promote()
local missing = redis.call('ZCARD', QUEUE) - redis.call('LLEN', carried) - #send
local looked_at = 0
while missing > 0 and looked_at < SOME do
  local id = redis.call('ZRANGE', QUEUE, looked_at, looked_at)[1]
  if not id then break end
  looked_at = looked_at + 1
  local sent = tonumber(redis.call('HGET', job_of(id), 'sent') or 0)
  if sent <= now - lease_s then
    redis.call('HSET', job_of(id), 'sent', seconds(now))
    table.insert(send, id)
    missing = missing - 1
  end
end

if counted('exact') == 0 then count_anew() end
local due = redis.call('ZRANGE', DELAYED, 0, 0, 'WITHSCORES')[2]
local due_s = due and due - now or math.huge
if back_s > 0 and #late > 0 then due_s = math.min(due_s, back_s, gap_s / 2) end
local counts = redis.call('HMGET', COUNTS, 'done', 'failed', 'cancelled')
local more = back_s <= 0 and #late == 2 * SOME or #old == SOME
return {
  redelivered, exhausted, #old, more and 1 or 0, send,
  { waiting(), running(), unpack(counts) },
  due_s < math.huge and seconds(due_s) or '',
}
