#!lua flags=no-writes
-- Who does jobs now, each once.
local known, owners = {}, {}
for _, id in ipairs(redis.call('ZRANGE', LEASES, 0, -1)) do
  local owner = redis.call('HGET', job_of(id), 'owner')
  if owner and not known[owner] then
    known[owner] = true
    table.insert(owners, owner)
  end
end
return owners
