-- Replaces what is older than a version by a tombstone, which put.lua lets no older copy replace.
--
-- KEYS[1]  the snippet's key
-- ARGV[1]  the version, in decimal
-- ARGV[2]  the tombstone: T and the version in 19 decimal digits
-- ARGV[3]  for how long it is kept, in milliseconds
-- Result   1 when it was stored, 0 when what is there has this or a newer version already

local there = redis.call('GETRANGE', KEYS[1], 0, 19)
local version_there = tonumber(string.sub(there, 2))
if version_there and version_there >= tonumber(ARGV[1]) then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
