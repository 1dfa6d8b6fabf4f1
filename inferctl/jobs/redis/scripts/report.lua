#!lua flags=allow-oom
-- ARGV: for how many seconds jobs are kept, most bytes of inputs of all that ended, then of each
-- claim: id, fence, the state that it comes to or '', its problem, 1 if the attempt counts, in how
-- many seconds it may be claimed, number of results, and of each its item, status and body.
-- Answers the ids of claims that are lost.
local keep_s, most_kept = tonumber(ARGV[2]), tonumber(ARGV[3])
local lost = {}
local place = 4

-- Of two results of an item the first counts. What has one needs no input any more, but for retries.
local function record(id, first, results)
  local items = tonumber(redis.call('HGET', job_of(id), 'items'))
  local done, failed, freed = 0, 0, 0
  for each = first, first + 3 * (results - 1), 3 do
    local item, status = tonumber(ARGV[each]), ARGV[each + 1]
    if item < items and redis.call('SETBIT', answered_of(id), item, 1) == 0 then
      redis.call('HSET', results_of(id), item, status .. ARGV[each + 2])
      done = done + 1
      if status == '200' then
        freed = freed + redis.call('HSTRLEN', inputs_of(id), item)
        redis.call('HDEL', inputs_of(id), item)
      else
        redis.call('SETBIT', problems_of(id), item, 1)
        failed = failed + 1
      end
    end
  end
  redis.call('HINCRBY', job_of(id), 'done', done)
  redis.call('HINCRBY', job_of(id), 'failed', failed)
  redis.call('HINCRBY', job_of(id), 'size', 0 - freed)
  redis.call('HINCRBY', job_of(id), 'revision', 1)
  count('bytes', -freed)
end

while place <= #ARGV do
  local id, fence, state, problem, charged, after_s, results = unpack(ARGV, place, place + 6)
  if not claimed(id, fence) then
    table.insert(lost, id)
  else
    if tonumber(results) > 0 then record(id, place + 7, tonumber(results)) end
    if state == 'queued' then
      if charged ~= '1' then redis.call('HINCRBY', job_of(id), 'attempts', -1) end
      moved(id, 'running', 'queued')
      queued(id, tonumber(after_s))
    elseif state ~= '' then
      over(id, state, problem, keep_s, most_kept)
    end
  end
  place = place + 7 + 3 * tonumber(results)
end
return lost
