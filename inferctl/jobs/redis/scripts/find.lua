#!lua flags=no-writes
-- ARGV: id, key.
local state = seen(ARGV[2], ARGV[3])
return { state, state == 'there' and told(ARGV[2]) or nil }
