-- How counters are kept: what check.lua and give_back.lua have in common. The arithmetic is that of the crate
-- ratelimit-core, whose documentation tells why it is exact: all values are whole numbers below 2^53. Times are in
-- microseconds. What is packed is little-endian, numbers as doubles (d) where no other width is told.
--
-- There are four kinds of counters. Each is told its parameters a, b and c, and keeps as its value packed numbers, or
-- the members of a sorted set:
--   1 window   a: limit, b: begin, c: end of the window if none is open; begin -1: it begins now and lasts c.
--              Keeps what is used, and when the window ends.
--   2 bucket   a: burst, b: refill in units a microsecond, c: units of a token. Keeps the debt in units, and its time.
--   3 sliding  a: limit, b: period, c: slice. Keeps the sum of all entries and then the entries, each as the time of the
--              last charge and the cost; what was charged in one slice is one entry.
--   4 slots    a: limit, b: period, c: 0. Keeps a sorted set of "<slot>:<number>" by the time when it ends.
--
-- Redis runs all of this at every call: functions are few, since each is made anew.

local floor, ceil, max, min = math.floor, math.ceil, math.max, math.min
local pack, unpack_packed = struct.pack, struct.unpack
local WINDOW, BUCKET, SLIDING, SLOTS = 1, 2, 3, 4

-- Bytes of an entry of a sliding window.
local ENTRY = 16

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function after(moment)
  return string.format('(%.0f', moment)
end

-- The counter as it stands now:
--   used, at   What is used, and when the window ends; the debt and its time; the sum of a sliding window and the time of
--              its last entry, with entries and last_cost; how many slots are taken.
--   remaining  What could pass now.
local function open(key, parameters, value)
  local kind, a, b, c = unpack_packed('<Bddd', parameters)
  local counter = { key = key, kind = kind, a = a, b = b, c = c }
  local used, at = 0, now
  if kind == WINDOW then
    at = b < 0 and now + c or c
    if value then
      local known_used, ends = unpack_packed('<dd', value)
      if now < ends and known_used > 0 then
        used, at = known_used, ends
      end
    end
  elseif kind == BUCKET then
    if value then
      used, at = unpack_packed('<dd', value)
      local elapsed = max(now - at, 0)
      used = elapsed < ceil(used / b) and used - elapsed * b or 0
      at = used > 0 and max(now, at) or now
    end
    counter.remaining = floor(max(a * c - used, 0) / c)
  elseif kind == SLIDING then
    -- Of the value only the parts that change are unpacked: what has left at its front, and its last entry.
    at, counter.entries, counter.last_cost = -1, '', 0
    if value then
      local first = 9
      used = unpack_packed('<d', value)
      while first < #value do
        local entry_at, cost = unpack_packed('<dd', value, first)
        if now < entry_at + b then
          break
        end
        used, first = used - cost, first + ENTRY
      end
      if used > 0 then
        at, counter.last_cost = unpack_packed('<dd', value, #value - ENTRY + 1)
        counter.entries = string.sub(value, first)
      end
    end
  else
    used = redis.call('ZCOUNT', key, after(now), '+inf')
  end
  counter.used, counter.at = used, at
  if kind ~= BUCKET then
    counter.remaining = max(a - used, 0)
  end
  return counter
end

-- When the counter says no more than none would.
local function expires_at(counter)
  local kind = counter.kind
  if kind == SLOTS then
    return tonumber(redis.call('ZRANGE', counter.key, -1, -1, 'WITHSCORES')[2] or 0)
  elseif counter.used == 0 then
    return 0
  elseif kind == WINDOW then
    return counter.at
  elseif kind == BUCKET then
    return counter.at + ceil(counter.used / counter.b)
  end
  return counter.at + counter.b
end

-- Writes the counter, until it expires. A millisecond is added since Redis expires by whole ones.
local function keep(counter)
  local kind, expires = counter.kind, expires_at(counter)
  local left_ms = ceil((expires - now) / 1000) + 1
  if expires <= now then
    redis.call('DEL', counter.key)
  elseif kind == SLOTS then
    redis.call('PEXPIRE', counter.key, left_ms)
  elseif kind == SLIDING then
    redis.call('SET', counter.key, pack('<d', counter.used) .. counter.entries, 'PX', left_ms)
  else
    redis.call('SET', counter.key, pack('<dd', counter.used, counter.at), 'PX', left_ms)
  end
end
