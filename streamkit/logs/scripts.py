"""The scripts that Redis runs for ``RedisLog``, each as one atomic step.

KEYS are the same for all: the state of a reply (a hash), its records (a stream, in which record 7 has the id ``7-0``),
its lease (a string that expires), and its stop (a stream, which exists once somebody asked to stop).

Two marks without text wake readers that wait for records: ``0-1`` (field ``b``) when a writer begins, until it writes,
and a last one (field ``d``) after a delete.

The state has ``writer`` (the token; "" after a delete, until the writer has noticed), ``last`` (the number of the last
record), ``bytes`` (of the records) and ``ended``.
"""

__all__ = ["APPEND", "BEGIN", "DELETE", "LOOK", "RELEASE", "STOP"]

# ARGV: token, ms of the lease, ms to keep. Answers 0, or why the id is not free, see ``CONFLICTS``.
BEGIN = """
local state = redis.call('HMGET', KEYS[1], 'writer', 'last')
local writer, last = state[1], tonumber(state[2] or 0)
if writer == ARGV[1] then return 0 end
if writer == '' then return 3 end
if writer then
  if redis.call('EXISTS', KEYS[3]) == 1 then return 1 end
  if last > 0 then return 2 end
end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[1], 'writer', ARGV[1], 'last', 0, 'bytes', 0)
redis.call('XADD', KEYS[2], '0-1', 'b', '')
redis.call('SET', KEYS[3], ARGV[1], 'PX', ARGV[2])
for _, key in ipairs({KEYS[1], KEYS[2], KEYS[4]}) do redis.call('PEXPIRE', key, ARGV[3]) end
return 0
"""

# ARGV: token, ms of the lease, ms to keep, most records, most bytes, number of the first record, and for each record
# its field and its text. Answers the number of the last record, or -1 if somebody else writes.
APPEND = """
local state = redis.call('HMGET', KEYS[1], 'writer', 'last', 'bytes', 'ended')
local last, bytes, ended = tonumber(state[2] or 0), tonumber(state[3] or 0), state[4]
if not state[1] then
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[1], 'writer', ARGV[1])
elseif state[1] ~= ARGV[1] then
  return -1
end
local number = tonumber(ARGV[6])
if not ended and number <= last + 1 then
  if last == 0 and #ARGV > 6 then redis.call('XDEL', KEYS[2], '0-1') end
  for at = 7, #ARGV, 2 do
    if number > last then
      redis.call('XADD', KEYS[2], string.format('%d-0', number), ARGV[at], ARGV[at + 1])
      last = number
      bytes = bytes + #ARGV[at + 1]
      if ARGV[at] == 'o' then ended = '1' end
    end
    number = number + 1
  end
end
local length = redis.call('XLEN', KEYS[2])
local most, most_bytes = tonumber(ARGV[4]), tonumber(ARGV[5])
while length > 1 and (length > most or bytes > most_bytes) do
  bytes = bytes - #redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1][2][2]
  length = length - 1
  redis.call('XTRIM', KEYS[2], 'MAXLEN', length)
end
redis.call('HSET', KEYS[1], 'last', last, 'bytes', bytes)
if ended then
  redis.call('HSET', KEYS[1], 'ended', 1)
  redis.call('DEL', KEYS[3])
else
  redis.call('SET', KEYS[3], ARGV[1], 'PX', ARGV[2])
end
for _, key in ipairs({KEYS[1], KEYS[2], KEYS[4]}) do redis.call('PEXPIRE', key, ARGV[3]) end
return last
"""

# ARGV: token. Forgets a writer that has written nothing; a stop that was asked for stays.
RELEASE = """
local state = redis.call('HMGET', KEYS[1], 'writer', 'last')
if state[1] == ARGV[1] and state[2] == '0' then redis.call('DEL', KEYS[1], KEYS[2], KEYS[3]) end
return 0
"""

# ARGV: the id of the entry that the reader has last, most records. Answers the status, the number of the last record,
# the ms that the lease has left, and what XREAD answers.
LOOK = """
local state = redis.call('HMGET', KEYS[1], 'writer', 'last', 'ended')
local last, lease = tonumber(state[2] or 0), redis.call('PTTL', KEYS[3])
if not state[1] then return {'absent', 0, 0, false} end
if state[1] == '' then return {'deleted', 0, 0, false} end
local status = state[3] and 'ended' or lease > 0 and 'open' or 'lost'
return {status, last, lease, redis.call('XREAD', 'COUNT', ARGV[2], 'STREAMS', KEYS[2], ARGV[1])}
"""

# ARGV: ms to keep. Answers whether a writer lives.
STOP = """
if not redis.call('HGET', KEYS[1], 'ended') then
  redis.call('XADD', KEYS[4], 'MAXLEN', 1, '*', 's', 1)
  redis.call('PEXPIRE', KEYS[4], ARGV[1])
end
return redis.call('EXISTS', KEYS[3])
"""

# ARGV: ms until the writer and the readers have noticed. Answers whether there was something to delete.
DELETE = """
local state = redis.call('HMGET', KEYS[1], 'writer', 'last')
if state[1] == '' then return 0 end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
if not state[1] then return 0 end
redis.call('HSET', KEYS[1], 'writer', '')
redis.call('XADD', KEYS[2], string.format('%d-0', tonumber(state[2]) + 1), 'd', '')
redis.call('XADD', KEYS[4], '*', 's', 1)
for _, key in ipairs({KEYS[1], KEYS[2], KEYS[4]}) do redis.call('PEXPIRE', key, ARGV[1]) end
return 1
"""
