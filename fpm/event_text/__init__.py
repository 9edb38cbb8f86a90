"""The text of events: level and sentence as the error log shows them, PHP-FPM's where it has one. Pure.

This is the only place in which the master words what it logs. A row of a table is the level and the sentence, or the
function that makes it of the event (several sentences, if they are entries of their own); what comes from an
application is escaped here or by the log.
"""
