#!lua flags=allow-oom
-- ARGV: states between commas, least age in seconds, how many of the terminal ones to leave out,
-- how many to look at. Answers how many it forgot, and how many it left.
local states, age_s = ',' .. ARGV[2] .. ',', tonumber(ARGV[3])
local from = tonumber(ARGV[4])
local ids = redis.call('ZRANGE', EXPIRY, from, from + tonumber(ARGV[5]) - 1)
local forgotten = 0
for _, id in ipairs(ids) do
  local state, ended = unpack(redis.call('HMGET', job_of(id), 'state', 'ended'))
  local wanted = state and string.find(states, ',' .. state .. ',', 1, true)
  if wanted and tonumber(ended) <= now - age_s then
    bury(id)
    forgotten = forgotten + 1
  end
end
return { forgotten, #ids - forgotten }
