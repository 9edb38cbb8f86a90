"""`pyfpm init`: a pool file and a web server's site for a project, found out by reading its sources.

A project is looked at (look, django; fpm.discover finds its application). What is found and what is asked becomes a
plan (plan), whose files are rendered from templates/ (render), checked and written (files).
"""
