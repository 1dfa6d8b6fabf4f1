#!lua flags=allow-oom
-- ARGV: id, key, for how many seconds it is kept, most bytes of inputs of all that ended.
local id = ARGV[2]
local there = seen(id, ARGV[3])
if there ~= 'there' then return { there } end
local state = redis.call('HGET', job_of(id), 'state')
if state == 'queued' or state == 'running' then
  over(id, 'cancelled', '', tonumber(ARGV[4]), tonumber(ARGV[5]))
elseif state ~= 'cancelled' then
  return { 'conflict', state }
end
return { 'there', told(id) }
