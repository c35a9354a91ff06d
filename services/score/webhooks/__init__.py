"""Webhooks: other systems register an address and are told what happens here.

A fact, such as a closed board, becomes one delivery for each webhook that wants it: a document whose id is derived from
webhook and fact, so that a fact that is seen again adds none. Workers take deliveries under a lease, sign them by the
Standard Webhooks specification, and retry for a day. Must never delay a score, log a secret, or connect to an address that is
neither public nor allowed by the operator.
"""
