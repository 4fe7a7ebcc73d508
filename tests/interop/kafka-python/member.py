"""A member of a group in a process of its own, so that it can die: prints its partitions when it has them, then only lives.

usage: member.py ADDRESS GROUP TOPIC
"""

import sys

from confluent import Member


def main(address, group, topic):
    member = Member(address, group, [topic])
    said = None
    while True:
        member.poll()
        if member.owned and member.owned != said:
            said = set(member.owned)
            print(sorted(partition for _, partition in said), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
