-- Replaces what is older than a version by a tombstone, which put.lua lets no older copy replace, and tells all replicas, which
-- have copies of their own.
--
-- KEYS[1]  the snippet's key
-- ARGV[1]  the version, in decimal
-- ARGV[2]  the tombstone: T and the version in 19 decimal digits
-- ARGV[3]  for how long it is kept, in milliseconds
-- ARGV[4]  the channel on which it is told
-- ARGV[5]  the snippet's id
-- Result   1 when it was stored, 0 when what is there has this or a newer version already

-- Whoever may not publish may invalidate all the same: the copies of replicas live for less than a second.
redis.pcall('PUBLISH', ARGV[4], ARGV[5])
local there = redis.call('GETRANGE', KEYS[1], 0, 19)
local version_there = tonumber(string.sub(there, 2))
if version_there and version_there >= tonumber(ARGV[1]) then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
