-- How counters are kept: what check.lua and give_back.lua have in common. The arithmetic is that of the crate
-- ratelimit-core, whose documentation tells why it is exact: all values are whole numbers below 2^53. Times are in
-- microseconds.
--
-- There are four kinds of counters. Each is told its parameters as three numbers a, b and c, and keeps as its value
-- doubles in a row, little-endian, or the members of a sorted set:
--   window    a: limit, b: begin, c: end of the window if none is open; begin -1: it begins now and lasts c.
--             Keeps what is used, and when the window ends.
--   bucket    a: burst, b: refill in units a microsecond, c: units of a token. Keeps the debt in units, and its time.
--   sliding   a: limit, b: period, c: slice. Keeps the sum of all entries and then the entries, each as the time of the
--             last charge and the cost; what was charged in one slice is one entry.
--   slots     a: limit, b: period, c: 0. Keeps a sorted set of "<slot>:<number>" by the time when it ends.
--
-- Redis runs all of this at every call: functions are few, since each is made anew.

local floor, ceil, max = math.floor, math.ceil, math.max
local pack, doubles = struct.pack, struct.unpack

-- Bytes of an entry of a sliding window.
local ENTRY = 16

local function after(time)
  return string.format('(%.0f', time)
end

-- Reads a counter as it stands now:
--   used, at   What is used, and when the window ends; the debt and its time; the sum of a sliding window and the time of
--              its last entry, with entries and last_cost; how many slots are taken.
--   remaining  What could pass now.
local function open(charge, value, now)
  local kind, used, at = charge.kind, 0, now
  if kind == 'window' then
    at = charge.b < 0 and now + charge.c or charge.c
    if value then
      local known_used, ends = doubles('<dd', value)
      if now < ends and known_used > 0 then
        used, at = known_used, ends
      end
    end
  elseif kind == 'bucket' then
    if value then
      used, at = doubles('<dd', value)
      local elapsed = max(now - at, 0)
      used = elapsed < ceil(used / charge.b) and used - elapsed * charge.b or 0
      at = used > 0 and max(now, at) or now
    end
    charge.remaining = floor(max(charge.a * charge.c - used, 0) / charge.c)
  elseif kind == 'sliding' then
    -- Of the value only the parts that change are decoded: what has left at its front, and its last entry.
    at, charge.entries, charge.last_cost = -1, '', 0
    if value then
      local first = 9
      used = doubles('<d', value)
      while first < #value do
        local entry_at, cost = doubles('<dd', value, first)
        if now < entry_at + charge.b then
          break
        end
        used, first = used - cost, first + ENTRY
      end
      if used > 0 then
        at, charge.last_cost = doubles('<dd', value, #value - ENTRY + 1)
        charge.entries = string.sub(value, first)
      end
    end
  else
    used = redis.call('ZCOUNT', charge.key, after(now), '+inf')
  end
  charge.used, charge.at = used, at
  if kind ~= 'bucket' then
    charge.remaining = max(charge.a - used, 0)
  end
end

-- When the counter says no more than none would.
local function expires_at(charge)
  local kind = charge.kind
  if kind == 'slots' then
    return tonumber(redis.call('ZRANGE', charge.key, -1, -1, 'WITHSCORES')[2] or 0)
  elseif charge.used == 0 then
    return 0
  elseif kind == 'window' then
    return charge.at
  elseif kind == 'bucket' then
    return charge.at + ceil(charge.used / charge.b)
  end
  return charge.at + charge.b
end

-- Keeps the counter until it expires, and gives that time. A millisecond is added since Redis expires by whole ones.
local function keep(charge, now)
  local kind, expires = charge.kind, expires_at(charge)
  local left_ms = ceil((expires - now) / 1000) + 1
  if expires <= now then
    redis.call('DEL', charge.key)
  elseif kind == 'slots' then
    redis.call('PEXPIRE', charge.key, left_ms)
  elseif kind == 'sliding' then
    redis.call('SET', charge.key, pack('<d', charge.used) .. charge.entries, 'PX', left_ms)
  else
    redis.call('SET', charge.key, pack('<dd', charge.used, charge.at), 'PX', left_ms)
  end
  return expires
end

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
