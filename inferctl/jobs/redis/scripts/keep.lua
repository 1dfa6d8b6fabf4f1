#!lua flags=allow-oom
-- ARGV: lease in seconds, then id and fence of each claim. Answers the ids of those that are lost.
local lost = {}
for each = 3, #ARGV, 2 do
  if claimed(ARGV[each], ARGV[each + 1]) then
    redis.call('ZADD', LEASES, seconds(now + tonumber(ARGV[2])), ARGV[each])
  else
    table.insert(lost, ARGV[each])
  end
end
return lost
