# An ordinary user with pyfpm installed.
useradd --no-create-home me
page_user=me
chown me: /home/me
