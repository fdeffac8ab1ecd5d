"""The scripts that Redis runs for ``RedisLines``, each as one atomic step, by the clock of Redis.

KEYS are the same for all, and those of one line:

1. ``sent``: a sorted set of the requests that count, by the time from which they count. One that was let through and
   does not know it yet has a time in the future, so that it counts until it does, or has died.
2. ``line``: a sorted set of those that wait, by their numbers.
3. ``tokens``: a hash with the tokens of both.
4. ``alive``: a sorted set of those that wait, by the time at which they count as dead.
5. ``state``: a hash with ``number`` (the last one), ``tokens`` (the sum of those in ``sent``), and ``until`` (when the
   provider allows requests again).

ARGV begins alike: the most requests and the most tokens (-1: no limit), the length of the window, the time that a
request may take to notice that it was let through, and after which one that waits is dead; and the request's id. Times
are in milliseconds.
"""

__all__ = ["ASK", "LEAVE", "SENDING"]

_COMMON = """
local sent, line, tokens, alive, state = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local most_requests, most_tokens = tonumber(ARGV[1]), tonumber(ARGV[2])
local per, lease, id = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
if redis.replicate_commands then redis.replicate_commands() end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + clock[2] / 1000

local function number(text) return tonumber(text or 0) or 0 end
local function total() return number(redis.call('HGET', state, 'tokens')) end
local function until_when() return number(redis.call('HGET', state, 'until')) end
local function tokens_of(each) return number(redis.call('HGET', tokens, each)) end

local function count(each, at)
  if redis.call('ZADD', sent, at, each) == 1 then
    redis.call('HINCRBY', state, 'tokens', tokens_of(each))
  end
end

local function forget(each)
  redis.call('ZREM', line, each)
  redis.call('ZREM', alive, each)
  if redis.call('ZREM', sent, each) == 1 then redis.call('HINCRBY', state, 'tokens', -tokens_of(each)) end
  redis.call('HDEL', tokens, each)
end

local function fits(requests, sum, need)
  return (most_requests < 0 or requests + 1 <= most_requests) and (most_tokens < 0 or sum + need <= most_tokens)
end

for _, each in ipairs(redis.call('ZRANGEBYSCORE', sent, '-inf', now - per)) do forget(each) end
for _, each in ipairs(redis.call('ZRANGEBYSCORE', alive, '-inf', now)) do forget(each) end

-- Let those at the head of the line through, and return their ids.
local function let_through()
  local through = {}
  if until_when() > now then return through end
  local requests, sum = redis.call('ZCARD', sent), total()
  while true do
    local first = redis.call('ZRANGE', line, 0, 0)[1]
    if not first then break end
    local need = tokens_of(first)
    if not fits(requests, sum, need) then break end
    redis.call('ZREM', line, first)
    redis.call('ZREM', alive, first)
    count(first, now + lease)
    requests, sum = requests + 1, sum + need
    through[#through + 1] = first
  end
  return through
end

local function keep()
  local ms = math.ceil(math.max(2 * per + 2 * lease, until_when() - now + per))
  for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ms) end
end
"""

# ARGV[6]: the tokens. ARGV[7]: 1 to wait in line.
# Answers 0 if it may go; or the milliseconds after which its turn should have come, and the limit that is reached.
ASK = (
    _COMMON
    + """
if not redis.call('ZSCORE', sent, id) then
  redis.call('HSET', tokens, id, ARGV[6])
  if not redis.call('ZSCORE', line, id) then
    redis.call('ZADD', line, redis.call('HINCRBY', state, 'number', 1), id)
  end
  redis.call('ZADD', alive, now + lease, id)
  let_through()
end
if redis.call('ZSCORE', sent, id) then
  redis.call('ZADD', sent, now, id)
  keep()
  return {0, ''}
end

local at, requests, sum, name = now, redis.call('ZCARD', sent), total(), 'provider'
if until_when() > now then at = until_when() end
local later, leaving, read, next_one = {}, {}, 0, 1
local function leaves()  -- the next one to leave the window: its time and its tokens
  if next_one > #leaving then
    local more = redis.call('ZRANGE', sent, read, read + 99, 'WITHSCORES')
    read = read + #more / 2
    leaving, next_one = {}, 1
    for i = 1, #more, 2 do  -- one that has not noticed yet will do so at about this moment
      leaving[#leaving + 1] = {math.min(number(more[i + 1]), now), tokens_of(more[i])}
    end
    if #leaving == 0 then leaving, later = later, {} end
  end
  next_one = next_one + 1
  return leaving[next_one - 1]
end
local rank = redis.call('ZRANK', line, id)
for _, each in ipairs(redis.call('ZRANGE', line, 0, math.min(rank, 200))) do
  local need = tokens_of(each)
  while not fits(requests, sum, need) do
    if name == 'provider' and at == now then
      name = (most_requests >= 0 and requests + 1 > most_requests) and 'requests' or 'tokens'
    end
    local gone = leaves()
    if not gone then break end
    at = math.max(at, gone[1] + per)
    requests, sum = requests - 1, sum - gone[2]
  end
  later[#later + 1] = {at, need}
  requests, sum = requests + 1, sum + need
end
if ARGV[7] ~= '1' then forget(id) end
keep()
return {math.max(1, math.ceil(at - now)), name}
"""
)

# ARGV[6]: the tokens. Counts it from now on.
SENDING = (
    _COMMON
    + """
redis.call('HSET', tokens, id, ARGV[6])
count(id, now)
keep()
return 0
"""
)

# ARGV[6]: the tokens that it took; -1 if that is unknown, -2 if it was not sent. ARGV[7]: the milliseconds for which
# nothing is to be sent. Answers the ids of those that may go now.
LEAVE = (
    _COMMON
    + """
local took = tonumber(ARGV[6])
if took == -2 then
  forget(id)
elseif took >= 0 and redis.call('ZSCORE', sent, id) then
  redis.call('HINCRBY', state, 'tokens', took - tokens_of(id))
  redis.call('HSET', tokens, id, took)
end
if tonumber(ARGV[7]) > 0 then
  redis.call('HSET', state, 'until', math.ceil(math.max(until_when(), now + tonumber(ARGV[7]))))
end
local through = let_through()
keep()
return through
"""
)
